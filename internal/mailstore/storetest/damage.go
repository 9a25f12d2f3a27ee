package storetest

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"rookery/internal/mailstore"
	"rookery/internal/vfs"
)

// damages are what may befall an index file, even while it is in use.
var damages = []struct {
	name string
	do   func(disk vfs.FS, path string, old []byte, rnd *rand.Rand) error
}{
	{"removed", func(disk vfs.FS, path string, _ []byte, _ *rand.Rand) error { return disk.Remove(path) }},
	{"cut to nothing", func(disk vfs.FS, path string, _ []byte, _ *rand.Rand) error { return overwrite(disk, path, 0, nil) }},
	{"cut", func(disk vfs.FS, path string, old []byte, rnd *rand.Rand) error {
		return overwrite(disk, path, int64(rnd.IntN(len(old)+1)), nil)
	}},
	{"noise", func(disk vfs.FS, path string, old []byte, rnd *rand.Rand) error {
		noise := make([]byte, 1+rnd.IntN(64))
		for i := range noise {
			noise[i] = byte(rnd.Uint32())
		}
		return overwrite(disk, path, int64(rnd.IntN(len(old)+1)), noise)
	}},
	{"all noise", func(disk vfs.FS, path string, old []byte, rnd *rand.Rand) error {
		noise := make([]byte, len(old))
		for i := range noise {
			noise[i] = byte(rnd.Uint32())
		}
		return overwrite(disk, path, 0, noise)
	}},
	{"an older one", func(disk vfs.FS, path string, old []byte, _ *rand.Rand) error {
		tmp := path + ".old"
		if err := overwrite(disk, tmp, 0, old); err != nil {
			return err
		}
		return disk.Rename(tmp, path)
	}},
}

// overwrite writes data at off; without any it cuts there.
func overwrite(disk vfs.FS, path string, off int64, data []byte) error {
	f, err := disk.OpenFile(path, vfs.Write|vfs.Create, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if data == nil {
		return f.Truncate(off)
	}
	_, err = f.WriteAt(data, off)
	return err
}

// testDamageIndex damages each index file in each way, under open sessions of two
// processes and between sessions: nothing that a client was told may change.
func testDamageIndex(e *env) {
	for _, d := range damages {
		for round := range 4 {
			e.damage(d.name, d.do, uint64(round))
			if e.Failed() {
				e.Fatalf("damage %q, round %d", d.name, round)
			}
		}
	}
}

func (e *env) damage(name string, do func(vfs.FS, string, []byte, *rand.Rand) error, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 11))
	box := strings.ReplaceAll(name, " ", "-") + fmt.Sprint(seed)
	p, q := e.start(), e.start()
	e.create(p, box)
	p.add(box, mailstore.AppendMeta{Keywords: []string{"k"}}, "1", "2", "3", "4")
	p.add(box, mailstore.AppendMeta{Flags: mailstore.Flagged, SaveDate: time.Unix(1e9, 0)}, "5")
	mp, mq := p.open(box), q.open(box)
	older := e.indexBytes()
	_, err := mp.Expunge(uids(2))
	e.must(err)
	store(e, mp, uids(3), mailstore.AddFlags, mailstore.Seen)
	want := "1:[k] 3:s[k] 4:[k] 5:f"
	e.seeSoon(mq, want)
	told := e.facts(mp, 1, 3, 4, 5)
	info, high := mp.Info(), mp.Snapshot().HighestModSeq()
	hit := func() {
		for path, now := range e.indexBytes() {
			old := older[path]
			if old == nil {
				old = now
			}
			e.must(do(e.disk, path, old, rnd))
		}
		e.clock.Jump(time.Second)
	}
	check := func(mb mailstore.Mailbox, want string) {
		e.Helper()
		e.seeSoon(mb, want)
		if s := mb.Snapshot(); s.HighestModSeq() < high || s.UIDNext() < 6 || mb.Info() != info {
			e.Fatalf("MODSEQ %d (was %d), UIDNEXT %d, %+v (was %+v)", s.HighestModSeq(), high, s.UIDNext(), mb.Info(), info)
		} else {
			high = s.HighestModSeq()
		}
	}
	hit()
	check(mp, want)
	check(mq, want)
	store(e, mq, uids(1), mailstore.AddFlags, mailstore.Draft)
	want = "1:t[k] 3:s[k] 4:[k] 5:f"
	check(mp, want)
	hit()
	_, err = mp.Expunge(uids(4))
	e.must(err)
	want = "1:t[k] 3:s[k] 5:f"
	check(mq, want)
	hit()
	if u := q.add(box, mailstore.AppendMeta{}, "6"); u[0] != 6 {
		e.Fatalf("the new message has the UID %d", u[0])
	}
	want += " 6:"
	check(mp, want)
	check(mq, want)
	for u, f := range e.facts(mq, 1, 3, 5) {
		if f != told[u] {
			e.Fatalf("message %d: %s, was %s", u, f, told[u])
		}
	}
	e.must(mp.Close())
	e.must(mq.Close())
	p.stop()
	q.stop()
	hit()
	p = e.start()
	mp = p.open(box)
	check(mp, want)
	for u, f := range e.facts(mp, 1, 3, 5) {
		if f != told[u] {
			e.Fatalf("message %d after a restart: %s, was %s", u, f, told[u])
		}
	}
	for i, u := range []mailstore.UID{1, 3, 5, 6} {
		if b, err := body(mp, u); err != nil || id(b) != []string{"1", "3", "5", "6"}[i] {
			e.Fatalf("message %d: %v %q", u, err, b)
		}
	}
	e.must(mp.Close())
	p.stop()
}

// indexBytes reads all index files.
func (e *env) indexBytes() map[string][]byte {
	e.Helper()
	out := map[string][]byte{}
	for _, p := range indexPaths(e, e.disk) {
		b, err := vfs.ReadFile(e.disk, p, 1<<30)
		e.must(err)
		out[p] = b
	}
	return out
}

// facts tells what never changes of messages.
func (e *env) facts(mb mailstore.Mailbox, list ...mailstore.UID) map[mailstore.UID]string {
	e.Helper()
	out := map[mailstore.UID]string{}
	for _, u := range list {
		f, err := mb.Facts(u, mailstore.FactsWant{Size: true, InternalDate: true, SaveDate: true, GUID: true})
		e.must(err)
		out[u] = fmt.Sprint(f.Size, f.InternalDate.Unix(), f.SaveDate.Unix(), f.GUID)
	}
	return out
}
