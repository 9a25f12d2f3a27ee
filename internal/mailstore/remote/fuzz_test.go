package remote

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"

	"rookery/internal/acl"
	"rookery/internal/errkind"
	"rookery/internal/ipc"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/annotation"
	"rookery/internal/mailstore/memstore"
	"rookery/internal/numset"
)

// secret is in everything that the guest may not read.
const secret = "vx7SECRETqz"

// secretive is ann's store: Box is bob's with all rights, Look for reading; what else is
// there, in them and beside them, is her own.
func secretive(t testing.TB) *memstore.Store {
	t.Helper()
	s := newStore()
	put := func(name mailstore.Name, text string, keywords ...string) {
		a, err := s.Append(name)
		must(t, err)
		w, err := a.Add(mailstore.AppendMeta{Keywords: keywords, UIDL: secret, Order: 3}, -1)
		must(t, err)
		io.WriteString(w, text)
		_, err = a.Commit()
		must(t, err)
	}
	for _, name := range []string{"Box", "Look", secret} {
		_, err := s.Create(name, 0)
		must(t, err)
	}
	for i := range 3 {
		put("Box", fmt.Sprint("box ", i, "\r\n"), "k")
		put("Look", fmt.Sprint("look ", i, "\r\n"))
		put("INBOX", secret, secret)
		put(secret, secret, secret)
	}
	put("Box", string(bytes.Repeat([]byte("0123456789"), 20_000)))
	for _, name := range []mailstore.Name{"INBOX", "Box", "Look", secret} {
		notes := []mailstore.Annotation{{Entry: "/private/" + secret, Value: []byte(secret)}, {Entry: "/shared/comment", Value: []byte(secret)}}
		if name == "Box" || name == "Look" {
			notes[1].Value = []byte("for all")
		}
		_, err := s.Annotate(name, notes)
		must(t, err)
	}
	give(t, s, "Box", "# "+secret+";user=bob lrswipkxtea")
	give(t, s, "Look", "# "+secret+";user=bob lr")
	give(t, s, secret, "user="+secret+" lr")
	return s
}

// script writes messages as FuzzServe reads them.
func script(messages ...ipc.Message) []byte {
	var out []byte
	for _, m := range messages {
		packet, err := Protocol.Encode(m)
		if err != nil {
			panic(err)
		}
		out = binary.BigEndian.AppendUint16(out, uint16(len(packet)))
		out = append(out, packet...)
	}
	return out
}

// calls makes a script of calls, one after the other.
func calls(list ...any) []byte {
	var messages []ipc.Message
	for i := 0; i < len(list); i += 2 {
		b, err := encode(list[i+1].(fields))
		if err != nil {
			panic(err)
		}
		messages = append(messages, &Call{ID: uint32(i + 1), Op: uint8(list[i].(op)), Data: b})
	}
	return script(messages...)
}

// FuzzServe is a guest who sends what he likes. Nothing of what he may not read comes
// to him, what he may not change stays, and the owner's end neither hangs nor panics.
func FuzzServe(f *testing.F) {
	all := numset.Span(1, 1<<32-1)
	for _, name := range []mailstore.Name{"Box", "Look", "INBOX", secret[:3]} {
		f.Add(calls(opOpen, &named{name}, opPicture, &picturing{Box: 1}, opPicture, &picturing{Box: 1, Have: 1, Sync: true}, opFacts, &factsOf{Box: 1, UID: 1, Ahead: 9},
			opFacts, &factsOf{Box: 1, UID: 1, Known: true}, opCached, &cachedOf{1, 1, "f", 9}, opCachedFields, &handle{1}, opMessage, &opening{1, 4, 3},
			opRead, &readingAt{2, 100_000, 60_000}, opMessage, &opening{1, 1, 9}, opCloseMessage, &handle{2}, opClaimRecent, &claiming{1, false}, opExpungedSince, &since{1, 1}, opClose, &handle{1}))
		f.Add(calls(opOpen, &named{name}, opStore, &storing{1, mailstore.FlagChange{UIDs: all, Keywords: []string{"a"}}}, opCopy, &transferring{1, all, "Look"},
			opMove, &transferring{1, all, "Box"}, opExpunge, &transferring{Box: 1, Set: all}, opStatus, &asking{name, true}))
		f.Add(calls(opAppend, &named{name}, opAdd, &adding{Appender: 1, Size: 4}, opWrite, &writing{1, []byte("abcd")}, opCommit, &handle{1}, opAppend, &named{name}, opAbort, &handle{2}))
		f.Add(calls(opGetACL, &named{name}, opMyRights, &named{name}, opSetACL, &granting{name, acl.ID{Kind: acl.User, Name: "bob"}, acl.Change{Rights: acl.All}},
			opDeleteACL, &granting{Name: name, ID: acl.ID{Kind: acl.Owner}}, opGrantable, &granting{Name: name, ID: acl.ID{Kind: acl.User, Name: "x"}}))
		f.Add(calls(opList, &none{}, opLookup, &named{name}, opSubscriptions, &none{}, opSubscribe, &subscribing{name, true}, opQuota, &none{}, opCreate, &creating{name + "/x", 0},
			opRename, &renaming{name, "Box/y"}, opDelete, &named{name}))
		f.Add(calls(opNotes, &named{name}, opSetNotes, &noting{name, []mailstore.Annotation{{Entry: "/shared/comment", Value: []byte("x")}, {Entry: "/shared/a"}}}, opNotes, &named{name},
			opSetNotes, &noting{name, []mailstore.Annotation{{Entry: "/private/comment"}}}, opNotesSince, &number{0}, opNotesSince, &number{3}, opNotedBoxes, &none{}))
	}
	f.Add(append(calls(opOpen, &named{"Box"}, opCopy, &transferring{1, all, "Box"}, opMove, &transferring{1, all, "Box"}),
		script(&Break{ID: 2}, &Break{ID: 3}, &Break{ID: 3}, &Break{ID: 9})...))
	f.Add(script(&Part{ID: 1, Data: []byte("\x03")}, &Call{ID: 1, Op: uint8(opOpen), Data: []byte("Box")}, &More{ID: 1}, &Heard{Box: 1}, &Pong{}))
	f.Fuzz(func(t *testing.T, data []byte) {
		if bytes.Contains(data, []byte(secret)) {
			return
		}
		store := secretive(t)
		conn, served := raw(t, asGuest(t, store, "bob"), ServeOptions{})
		var got bytes.Buffer
		read := make(chan struct{})
		answers := make(chan struct{}, 1000)
		go func() {
			defer close(read)
			for {
				m, _, err := conn.Recv()
				if err != nil {
					return
				}
				if a, is := m.(*Answer); is {
					got.Write(a.Data)
					select {
					case answers <- struct{}{}:
					default:
					}
				}
			}
		}()
		for len(data) >= 2 {
			n := min(int(binary.BigEndian.Uint16(data)), len(data)-2)
			packet := data[2 : 2+n]
			data = data[2+n:]
			m, _, err := Protocol.Decode(packet, ipc.FromClient)
			if err != nil {
				continue
			}
			if conn.Send(m, -1) != nil {
				break
			}
			if _, is := m.(*Call); is && len(packet)%8 != 0 { // mostly one after the other
				select {
				case <-answers:
				case <-read:
				case <-time.After(10 * time.Second):
					t.Fatal("a call is not answered")
				}
			}
		}
		conn.Send(&Call{ID: 1 << 31, Op: 255}, -1) // ends it, after all that was sent
		select {
		case <-served:
		case <-time.After(10 * time.Second):
			t.Fatal("the owner's end hangs")
		}
		<-read
		if bytes.Contains(got.Bytes(), []byte(secret)) {
			t.Fatalf("the guest was told a secret: %q", got.Bytes())
		}
		for _, name := range []mailstore.Name{"INBOX", secret} {
			mb, snap, err := mailstore.Look(store, name)
			must(t, err)
			if snap.Len() != 3 || snap.At(0).Flags|snap.At(1).Flags|snap.At(2).Flags != 0 || text(t, mb, 2) != secret {
				t.Fatalf("%s was changed", name)
			}
			if notes, err := store.Annotations(name); err != nil || len(notes) != 2 || string(notes[1].Value) != secret {
				t.Fatalf("of %s %v is noted, %v", name, notes, err)
			}
		}
	})
}

// routine uses a store in every way, whatever it answers.
func routine(t testing.TB, s mailstore.Sharer) {
	s.List()
	s.Lookup("Box")
	s.Subscriptions()
	s.Status("Box", mailstore.StatusWant{Size: true})
	s.Quota()
	s.MyRights("Box")
	s.GetACL("Box")
	s.Grantable("Box", acl.ID{Kind: acl.User, Name: "x"})
	mb, err := s.Open("Box")
	if err == nil {
		for round := range 3 {
			snap, err := mb.Sync()
			if err != nil {
				snap = mb.Snapshot()
			}
			sound(t, snap)
			mb.Info()
			mb.Keywords()
			mb.ClaimRecent(true)
			mb.ExpungedSince(1)
			for uid := mailstore.UID(1); uid < 5; uid++ {
				mb.Facts(uid, mailstore.FactsWant{Size: true, GUID: true})
				mb.Cached(uid, "f")
				if m, err := mb.Message(uid); err == nil {
					m.ReadAt(make([]byte, 100), m.Size()/2)
					m.ReadAt(make([]byte, 70_000), 0)
					m.Close()
				}
			}
			n := 0
			mailstore.KnownFacts(mb, mailstore.FactsWant{GUID: true}, func(mailstore.UID, mailstore.Facts, mailstore.FactsWant) bool { n++; return n < 100 })
			mailstore.CachedFields(mb)
			mb.Store(mailstore.FlagChange{UIDs: numset.Of(1), Op: mailstore.AddFlags, Flags: mailstore.Flags(1 << round), Keywords: []string{fmt.Sprint("k", round)}})
			mb.Copy(numset.Of(1), "Box")
			mb.Move(numset.Of(2), "Box")
			mb.Expunge(numset.Of(2))
		}
		mb.Close()
	}
	if a, err := s.Append("Box"); err == nil {
		if w, err := a.Add(mailstore.AppendMeta{}, -1); err == nil {
			w.Write([]byte("x\r\n"))
		}
		a.Commit()
	}
	if n, is := s.(mailstore.SharedNotes); is {
		noted, err := n.SharedNotes("Box")
		if err == nil {
			for _, a := range noted.Entries {
				if annotation.Check(a.Entry) != nil || a.Value == nil || !strings.HasPrefix(annotation.Fold(a.Entry), "/shared/") {
					t.Fatalf("the annotation %+v", a)
				}
			}
		}
		n.SetSharedNotes("Box", []mailstore.Annotation{{Entry: "/shared/comment", Value: []byte("x")}, {Entry: "/shared/none"}})
		n.SharedNotesSince(0)
		n.NotedBoxes()
	}
	s.Create("Box/x", 0)
	s.Rename("Box/x", "Box/y")
	s.Delete("Box/y")
}

// sound checks that a picture holds what mailstore.Snapshot promises.
func sound(t testing.TB, s mailstore.Snapshot) {
	last := mailstore.UID(0)
	for pos := range s.Len() {
		e := s.At(pos)
		at, found := s.Find(e.UID)
		if e.UID <= last || e.UID >= s.UIDNext() || e.ModSeq > s.HighestModSeq() || e.Flags&^mailstore.AllFlags != 0 || at != pos || !found {
			t.Fatalf("at %d there is %+v after UID %d, found at %d %v; the next is %d, the highest %d", pos, e, last, at, found, s.UIDNext(), s.HighestModSeq())
		}
		if e.Keywords != 0 && len(s.Keywords(e.Keywords)) == 0 {
			t.Fatalf("the keywords of %+v are not known", e)
		}
		last = e.UID
	}
}

// recorded gives what an honest owner's end answers to the routine, as FuzzClient
// reads it.
func recorded(t testing.TB) (out []byte) {
	owner, between := pair(t)
	go Serve(context.Background(), owner, asGuest(t, secretive(t), "bob"), ServeOptions{})
	up, err := ipc.NewConn(between, Protocol, ipc.FromClient)
	must(t, err)
	far, guest := pair(t)
	down, err := ipc.NewConn(far, Protocol, ipc.FromServer)
	must(t, err)
	go func() {
		for {
			m, _, err := down.Recv()
			if err != nil {
				up.Close()
				return
			}
			up.Send(m, -1)
		}
	}()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			m, _, err := up.Recv()
			if err != nil {
				return
			}
			if a, is := m.(*Answer); is {
				flags := byte(0)
				if a.More {
					flags |= 1
				}
				if a.Failed {
					flags |= 2 | byte(a.Kind)<<3
				}
				out = append(out, flags)
				out = binary.BigEndian.AppendUint16(out, uint16(len(a.Data)))
				out = append(out, a.Data...)
			}
			down.Send(m, -1)
		}
	}()
	c, err := NewClient(guest, ClientOptions{Usable: usable})
	must(t, err)
	routine(t, c)
	c.Close()
	<-done
	down.Close()
	return out
}

// FuzzClient is an owner's end that answers what it likes. The guest's end keeps its
// promises to who uses it, and neither hangs nor panics.
func FuzzClient(f *testing.F) {
	honest := recorded(f)
	f.Add(honest)
	for _, n := range []int{10, 100, 300, 500, 1000, 2000} {
		f.Add(honest[:min(n, len(honest))])
		if n < len(honest) {
			f.Add(append(bytes.Clone(honest[:n]), honest[n+1:]...))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		owner, guest := pair(t)
		conn, err := ipc.NewConn(owner, Protocol, ipc.FromServer)
		must(t, err)
		served := make(chan struct{})
		go func() {
			defer close(served)
			defer conn.Close()
			for {
				m, _, err := conn.Recv()
				if err != nil {
					return
				}
				var id uint32
				switch m := m.(type) {
				case *Call:
					id = m.ID
				case *More:
					id = m.ID
				default:
					continue
				}
				if len(data) < 3 {
					return
				}
				flags, n := data[0], min(int(binary.BigEndian.Uint16(data[1:])), len(data)-3, maxPart)
				a := &Answer{ID: id, More: flags&1 != 0, Failed: flags&2 != 0, Data: data[3 : 3+n]}
				if a.Failed {
					a.Kind = 1 + errkind.Kind(flags>>3)%19
				}
				data = data[3+n:]
				if flags&4 != 0 {
					conn.Send(&Changed{Box: uint32(flags >> 3)}, -1)
					conn.Send(&Ping{}, -1)
				}
				conn.Send(a, -1)
			}
		}()
		c, err := NewClient(guest, ClientOptions{Usable: usable, Timeout: 20 * time.Second})
		must(t, err)
		begun := time.Now()
		routine(t, c)
		c.Close()
		<-served
		if time.Since(begun) > 15*time.Second {
			t.Fatal("the guest's end hangs")
		}
	})
}

// FuzzArguments: what is taken is written the same.
func FuzzArguments(f *testing.F) {
	list := argumentSamples()
	for i, a := range list {
		b, err := encode(a)
		must(f, err)
		f.Add(uint8(i), b)
	}
	f.Fuzz(func(t *testing.T, i uint8, b []byte) {
		kind := reflect.TypeOf(list[int(i)%len(list)]).Elem()
		first, second := reflect.New(kind).Interface().(fields), reflect.New(kind).Interface().(fields)
		if decode(b, first) != nil {
			return
		}
		out, err := encode(first)
		if err != nil {
			t.Fatalf("%T %+v cannot be written: %v", first, first, err)
		}
		if err := decode(out, second); err != nil {
			t.Fatalf("%T %+v is not taken again: %v", first, first, err)
		}
		again, err := encode(second)
		if err != nil || !bytes.Equal(out, again) {
			t.Fatalf("%T %+v came back as %+v, %v", first, first, second, err)
		}
	})
}
