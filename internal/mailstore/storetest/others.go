package storetest

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/numset"
)

func testTwoProcesses(e *env) {
	p, q := e.start(), e.start()
	e.create(p, "a")
	mp, mq := p.open("a"), q.open("a")
	if mp.Info().UIDValidity != mq.Info().UIDValidity || mp.Info().GUID != mq.Info().GUID {
		e.Fatal("two processes see two mailboxes")
	}
	for i := range 4 { // in turn, neither looking first
		if u := p.add("a", mailstore.AppendMeta{}, fmt.Sprint("p", i)); u[0] != mailstore.UID(2*i+1) {
			e.Fatal(u)
		}
		if u := q.add("a", mailstore.AppendMeta{Flags: mailstore.Seen}, fmt.Sprint("q", i)); u[0] != mailstore.UID(2*i+2) {
			e.Fatal(u)
		}
	}
	// One adds while the other is about to.
	a, err := p.Append("INBOX")
	e.must(err)
	w, err := a.Add(mailstore.AppendMeta{}, -1)
	e.must(err)
	_, err = w.Write([]byte(text("slow")))
	e.must(err)
	if u := q.add("INBOX", mailstore.AppendMeta{Flags: mailstore.Seen}, "quick"); u[0] != 1 {
		e.Fatal(u)
	}
	if r, err := a.Commit(); err != nil || r.UIDs[0] != 2 {
		e.Fatal(r, err)
	}
	e.seeSoon(p.open("INBOX"), "1:s 2:")
	e.seeSoon(q.open("INBOX"), "1:s 2:")
	_, err = q.open("INBOX").Expunge(uids(1, 2))
	e.must(err)
	all := "1: 2:s 3: 4:s 5: 6:s 7: 8:s"
	e.seeSoon(mp, all)
	e.seeSoon(mq, all)
	store(e, mp, uids(1), mailstore.AddFlags, mailstore.Flagged)
	store(e, mq, uids(1), mailstore.AddFlags, mailstore.Seen)
	_, err = mp.Expunge(uids(3))
	e.must(err)
	got, err := mq.Expunge(uids(3, 5))
	e.must(err)
	if got.Contains(3) || !got.Contains(5) {
		e.Fatal("both say to have expunged one message:", got)
	}
	r, err := mq.Copy(uids(1, 2), "INBOX")
	e.must(err)
	if len(r.To) != 2 {
		e.Fatal(r)
	}
	e.seeSoon(mp, "1:fs 2:s 4:s 6:s 7: 8:s")
	e.seeSoon(mq, "1:fs 2:s 4:s 6:s 7: 8:s")
	e.seeSoon(p.open("INBOX"), "3:fs 4:s")
	_, err = mp.Move(uids(4), "INBOX")
	e.must(err)
	r, err = mq.Move(uids(4, 6), "INBOX")
	e.must(err)
	if len(r.From) != 1 || r.From[0] != 6 {
		e.Fatalf("a message was moved twice: %+v", r)
	}
	e.seeSoon(q.open("INBOX"), "3:fs 4:s 5:s 6:s")
	e.must(q.Rename("a", "b"))
	_, err = mp.Sync()
	e.kind(err, errkind.NotFound)
	e.seeSoon(p.open("b"), "1:fs 2:s 7: 8:s")
}

// testTwoAtOnce has two processes with two sessions each work on one mailbox at
// the same time, and compares what all agree on at the end with what each was told.
func testTwoAtOnce(e *env) {
	procs := []*process{e.start(), e.start()}
	e.create(procs[0], "box")
	var mu sync.Mutex
	told := map[mailstore.UID]string{} // UID → which message
	expunged := map[mailstore.UID]bool{}
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			p := procs[g%2]
			mb, err := p.Open("box")
			if err != nil {
				e.Errorf("open: %v", err)
				return
			}
			defer mb.Close()
			rnd := rand.New(rand.NewPCG(uint64(g), 1))
			var mine []mailstore.UID
			for i := range 25 {
				e.clock.Jump(3 * time.Millisecond)
				switch n := rnd.IntN(6); {
				case n < 3 || len(mine) == 0:
					name := fmt.Sprintf("%d.%d", g, i)
					r, err := tryAppend(p, "box", mailstore.AppendMeta{}, text(name))
					if err != nil {
						e.Errorf("append: %v", err)
						return
					}
					mu.Lock()
					if old, ok := told[r.UIDs[0]]; ok {
						e.Errorf("UID %d is %s and %s", r.UIDs[0], old, name)
					}
					told[r.UIDs[0]] = name
					mu.Unlock()
					mine = append(mine, r.UIDs[0])
				case n == 3:
					u := mine[rnd.IntN(len(mine))]
					if _, err := mb.Store(mailstore.FlagChange{UIDs: uids(u), Op: mailstore.AddFlags, Flags: mailstore.Seen, Keywords: []string{fmt.Sprint("k", g)}}); err != nil {
						e.Errorf("store: %v", err)
					}
				case n == 4:
					k := rnd.IntN(len(mine))
					got, err := mb.Expunge(uids(mine[k]))
					if err != nil || got.Len() > 1 {
						e.Errorf("expunge: %v %v", got, err)
					}
					mu.Lock()
					expunged[mine[k]] = expunged[mine[k]] || !got.Empty()
					mu.Unlock()
					if !got.Empty() {
						mine = append(mine[:k], mine[k+1:]...)
					}
				default:
					if _, err := mb.Sync(); err != nil {
						e.Errorf("sync: %v", err)
					}
					if _, err := mb.ClaimRecent(false); err != nil {
						e.Errorf("recent: %v", err)
					}
				}
			}
		})
	}
	wg.Wait()
	want := numset.Set{}
	for u := range told {
		if !expunged[u] {
			want.Add(u)
		}
	}
	agree(e, procs, told, want)
}

// agree compares what old processes and a new one show with what was told.
func agree(e *env, procs []*process, told map[mailstore.UID]string, want numset.Set) {
	e.clock.Jump(time.Minute)
	procs = append(procs, e.start())
	var first string
	for i, p := range procs {
		mb := p.open("box")
		s, err := mb.Sync()
		e.must(err)
		for range 100 {
			if i == 0 || show(s) == first {
				break
			}
			time.Sleep(time.Millisecond)
			s, err = mb.Sync()
			e.must(err)
		}
		if i == 0 {
			first = show(s)
		} else if got := show(s); got != first {
			e.Fatalf("process %d shows\n  %s\nthe first\n  %s", i, got, first)
		}
		have := numset.Set{}
		for pos := range s.Len() {
			u := s.At(pos).UID
			have.Add(u)
			if b, err := body(mb, u); err != nil || id(b) != told[u] {
				e.Errorf("UID %d holds %q (%v), was told to be %q", u, id(b), err, told[u])
			}
		}
		if !have.Equal(want) {
			e.Fatalf("process %d has %s, want %s", i, have, want)
		}
	}
}

func testOthers(e *env) {
	if e.h.Deliver == nil {
		return
	}
	p := e.start()
	e.create(p, "box")
	for _, name := range []mailstore.Name{"INBOX", "box"} {
		mb := p.open(name)
		e.see(mb, "")
		e.must(e.h.Deliver(e.disk, name, "Subject: d1\n\nan LF file\n"))
		e.must(e.h.Deliver(e.disk, name, "Subject: d2\n\nanother\n"))
		e.seeSoon(mb, "1: 2:")
		if b, err := body(mb, 1); err != nil || b != "Subject: d1\r\n\r\nan LF file\r\n" {
			e.Fatalf("%v %q", err, b)
		}
		f, err := mb.Facts(2, mailstore.FactsWant{Size: true})
		if err != nil || f.Size != int64(len("Subject: d2\r\n\r\nanother\r\n")) {
			e.Fatal(f.Size, err)
		}
		got, err := mb.ClaimRecent(false)
		e.must(err)
		sameSet(e, "recent", got, 1, 2)
		e.must(e.h.Flag(e.disk, name, "d2", mailstore.Seen|mailstore.Answered))
		e.seeSoon(mb, "1: 2:as")
		if b, err := body(mb, 2); err != nil || !strings.Contains(b, "another") {
			e.Fatal(err)
		}
		// Changed by others and not yet seen here: found and merged.
		e.must(e.h.Flag(e.disk, name, "d1", mailstore.Flagged))
		store(e, mb, uids(1), mailstore.AddFlags, mailstore.Seen)
		e.seeSoon(mb, "1:fs 2:as")
		e.must(e.h.Flag(e.disk, name, "d1", mailstore.Draft))
		if b, err := body(mb, 1); err != nil || !strings.Contains(b, "an LF file") {
			e.Fatal("a message that another program renamed cannot be read:", err)
		}
		e.must(e.h.Flag(e.disk, name, "d1", mailstore.Answered))
		r, err := mb.Copy(uids(1), name)
		e.must(err)
		e.seeSoon(mb, "1:a 2:as 3:a")
		e.must(e.h.Flag(e.disk, name, "d2", 0))
		gone, err := mb.Expunge(uids(2))
		e.must(err)
		sameSet(e, "expunged", gone, 2)
		e.must(e.h.Remove(e.disk, name, "d1"))
		e.must(e.h.Remove(e.disk, name, "d1")) // the copy
		e.seeSoon(mb, "")
		_, err = mb.Message(r.To[0])
		e.kind(err, errkind.Expunged)
		e.must(e.h.Deliver(e.disk, name, "Subject: d3\n\n\n"))
		e.seeSoon(mb, "4:")
	}
}

// testOthersAtOnce has another program deliver, flag and remove while a session
// works: nothing that it left alone may be lost or shown under two UIDs.
func testOthersAtOnce(e *env) {
	if e.h.Deliver == nil {
		return
	}
	p := e.start()
	mb := p.open("INBOX")
	const n = 40
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range n {
			e.clock.Jump(2 * time.Millisecond)
			if err := e.h.Deliver(e.disk, "INBOX", fmt.Sprintf("Subject: d%02d\r\n\r\n", i)); err != nil {
				e.Errorf("deliver: %v", err)
			}
			for j := 0; j <= i; j += 7 {
				if err := e.h.Flag(e.disk, "INBOX", fmt.Sprintf("d%02d", j), mailstore.Flags(1<<(i%5))); err != nil && j != 0 && i != j {
					continue // renamed by the session meanwhile
				}
			}
		}
	})
	uidOf := map[string]mailstore.UID{}
	look := func() {
		s, err := mb.Sync()
		if err != nil {
			e.Errorf("sync: %v", err)
			return
		}
		for pos := range s.Len() {
			u := s.At(pos).UID
			b, err := body(mb, u)
			if err != nil {
				e.Errorf("read %d: %v", u, err)
				continue
			}
			if old, ok := uidOf[id(b)]; ok && old != u {
				e.Errorf("%s had UID %d, now %d", id(b), old, u)
			}
			uidOf[id(b)] = u
		}
		if s.Len() > 0 {
			if _, err := mb.Store(mailstore.FlagChange{UIDs: numset.Span(1, 1<<32-1), Op: mailstore.AddFlags, Keywords: []string{"x"}}); err != nil {
				e.Errorf("store: %v", err)
			}
			if _, err := mb.ClaimRecent(false); err != nil {
				e.Errorf("recent: %v", err)
			}
		}
	}
	for range 30 {
		look()
	}
	wg.Wait()
	e.clock.Jump(time.Minute)
	for range 100 {
		if look(); len(uidOf) == n {
			break
		}
		e.clock.Jump(time.Second)
	}
	if s := mb.Snapshot(); s.Len() != n || len(uidOf) != n {
		e.Fatalf("%d messages were delivered, %d are shown, %d were seen", n, s.Len(), len(uidOf))
	}
}

func testDropIndex(e *env) {
	if e.h.DropIndex == nil {
		return
	}
	p := e.start()
	e.create(p, "a")
	p.add("a", mailstore.AppendMeta{Keywords: []string{"k"}}, "1", "2", "3")
	mb := p.open("a")
	_, err := mb.Expunge(uids(2))
	e.must(err)
	store(e, mb, uids(3), mailstore.AddFlags, mailstore.Seen)
	want, info, high := show(mb.Snapshot()), mb.Info(), mb.Snapshot().HighestModSeq()
	e.must(e.h.DropIndex(e.disk)) // under the open session
	e.see(mb, want)
	store(e, mb, uids(1), mailstore.AddFlags, mailstore.Draft)
	want = strings.Replace(want, "1:", "1:t", 1)
	e.see(mb, want)
	p.stop()
	e.must(e.h.DropIndex(e.disk))
	p = e.start()
	mb = p.open("a")
	if s := e.see(mb, want); s.HighestModSeq() < high || s.UIDNext() != 4 || mb.Info() != info {
		e.Fatalf("rebuilt: MODSEQ %d (was %d), UIDNEXT %d, %+v", s.HighestModSeq(), high, s.UIDNext(), mb.Info())
	}
}

// testLeaks counts open files.
func testLeaks(e *env) {
	p := e.start()
	for _, h := range histories {
		m := newModel(e, p)
		m.box = h.name + "-"
		h.run(m)
	}
	e.must(p.Close())
	if n := p.fault.OpenFiles(); n != 0 {
		e.Fatalf("%d files stay open", n)
	}
}
