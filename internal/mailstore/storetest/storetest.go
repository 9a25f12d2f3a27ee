// Package storetest is the definition of a mail storage driver: the tests that
// each one must pass, over a disk in memory whose power can be cut and whose
// operations can fail.
//
// Drivers' tests call Run. The package must never know how a driver keeps mail;
// what only the driver can do (what other programs do to its files) it asks for.
package storetest

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/numset"
	"rookery/internal/vfs"
	"rookery/internal/vfs/faultfs"
	"rookery/internal/vfs/memfs"
)

// Harness is a driver, and what other programs do to its files. A nil function
// says that no other program does such a thing with this format.
type Harness struct {
	// Open opens a store on a disk, as a process of its own.
	Open func(disk vfs.FS) (mailstore.Store, error)
	// Deliver adds a message as a delivery agent would.
	Deliver func(disk vfs.FS, name mailstore.Name, body string) error
	// Flag sets the flags of the message that holds text, as a mail program would.
	Flag func(disk vfs.FS, name mailstore.Name, text string, flags mailstore.Flags) error
	// Remove removes the message that holds text, as a mail program would.
	Remove func(disk vfs.FS, name mailstore.Name, text string) error
	// DropIndex removes every index file.
	DropIndex func(disk vfs.FS) error
	// Notes are given the lines that the driver tells the log, if it is not nil.
	Notes *Notes
	// Sampled says that the driver is tested whole under other options, and that of
	// the power cuts and errors a sample will do.
	Sampled bool
	// MovesTwice says that a crash in the midst of a MOVE may leave messages in both
	// mailboxes.
	MovesTwice bool
	// StopsLate says that a Transfer looks only now and then whether it is to be broken
	// off.
	StopsLate bool
	// ExpungesLast says that expunges and flag changes survive a power cut once answered.
	ExpungesLast bool
}

// Run runs the suite.
func Run(t *testing.T, open func(t *testing.T) Harness) {
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.run(newEnv(t, open(t), 0))
		})
	}
	t.Run("CoarseTimes", func(t *testing.T) {
		for _, c := range tests {
			if c.coarse {
				t.Run(c.name, func(t *testing.T) { c.run(newEnv(t, open(t), 10*time.Millisecond)) })
			}
		}
	})
}

type test struct {
	name   string
	coarse bool // also where file times step by 10 ms
	run    func(*env)
}

var tests = []test{
	{"Empty", false, testEmpty}, {"Append", false, testAppend}, {"AppendBad", false, testAppendBad},
	{"AppendMany", false, testAppendMany}, {"AppendTogether", false, testAppendTogether}, {"Body", false, testBody},
	{"Dates", false, testDates}, {"GUIDs", false, testGUIDs}, {"Flags", true, testFlags}, {"FlagsMerge", true, testFlagsMerge},
	{"Keywords", false, testKeywords}, {"ManyKeywords", false, testManyKeywords}, {"KeywordLimits", false, testKeywordLimits},
	{"Unchanged", false, testUnchanged}, {"Expunge", true, testExpunge}, {"ExpungedSince", false, testExpungedSince},
	{"OpenAfterExpunge", false, testOpenAfterExpunge}, {"Copy", false, testCopy}, {"CopySame", false, testCopySame},
	{"Move", false, testMove}, {"Snapshots", false, testSnapshots}, {"Watch", false, testWatch}, {"Recent", true, testRecent},
	{"Folders", false, testFolders}, {"FolderErrors", false, testFolderErrors}, {"UIDValidity", false, testUIDValidity},
	{"Rename", false, testRename}, {"RenameInbox", false, testRenameInbox}, {"RenameOpen", false, testRenameOpen},
	{"DeleteOpen", false, testDeleteOpen}, {"Subscriptions", false, testSubscriptions}, {"Status", false, testStatus},
	{"Reopen", false, testReopen}, {"ModSeqs", false, testModSeqs}, {"ModSeqsAlone", false, testModSeqsAlone}, {"TwoProcesses", true, testTwoProcesses},
	{"TwoProcessesAtOnce", true, testTwoAtOnce}, {"OtherPrograms", true, testOthers}, {"OthersAtOnce", true, testOthersAtOnce},
	{"DropIndex", false, testDropIndex}, {"DamageIndex", false, testDamageIndex}, {"DamageUnderWay", true, testUnderWay}, {"DamageMapped", false, testMapped}, {"PowerCut", false, testPowerCut}, {"Errors", false, testErrors}, {"Killed", false, testKilled}, {"Whole", false, testWhole},
	{"Stopped", false, testStopped}, {"CommitStopped", false, testCommitStopped}, {"RaiseModSeq", false, testRaise},
	{"Leaks", false, testLeaks},
}

// env is one test's disk and processes.
type env struct {
	*testing.T
	h     Harness
	disk  *memfs.FS
	clock *memfs.Clock
	procs []*process
	// coarse says that the disk's times step by more than a moment.
	coarse bool
}

func newEnv(t *testing.T, h Harness, granularity time.Duration) *env {
	c := memfs.NewClock(time.Date(2026, 5, 4, 3, 2, 1, 123456789, time.UTC))
	e := &env{T: t, h: h, clock: c, coarse: granularity > 0, disk: memfs.New(memfs.Options{Now: c.Now, Granularity: granularity})}
	t.Cleanup(func() {
		for _, p := range e.procs {
			p.fault.Kill()
		}
	})
	return e
}

// process is a Store in a process of its own.
type process struct {
	mailstore.Store
	e     *env
	fault *faultfs.FS
}

// start opens the store in a new process.
func (e *env) start() *process {
	e.Helper()
	p, err := e.tryStart(e.disk)
	if err != nil {
		e.Fatalf("open the store: %v", err)
	}
	return p
}

func (e *env) tryStart(disk *memfs.FS) (*process, error) { return e.startOn(faultfs.New(disk)) }

func (e *env) startOn(f *faultfs.FS) (*process, error) {
	s, err := e.h.Open(f)
	p := &process{Store: s, e: e, fault: f}
	e.procs = append(e.procs, p)
	return p, err
}

// stop closes a store in good order.
func (p *process) stop() {
	p.e.Helper()
	p.e.must(p.Store.Close())
}

func (e *env) must(err error) {
	e.Helper()
	if err != nil {
		e.Fatal(err)
	}
}

func (e *env) kind(err error, want errkind.Kind) {
	e.Helper()
	if !errkind.Is(err, want) {
		e.Fatalf("got error %v (%v), want %v", err, errkind.Of(err), want)
	}
}

// open opens a mailbox until the test's end.
func (p *process) open(name mailstore.Name) mailstore.Mailbox {
	p.e.Helper()
	mb, err := p.Open(name)
	if err != nil {
		p.e.Fatalf("open %q: %v", name, err)
	}
	return mb
}

// text is a message that says which it is.
func text(id string) string {
	return "Subject: " + id + "\r\n\r\nThis is the message " + id + ".\r\n"
}

// tryAppend adds one message.
func tryAppend(s mailstore.Store, name mailstore.Name, meta mailstore.AppendMeta, bodies ...string) (mailstore.AppendResult, error) {
	a, err := s.Append(name)
	if err != nil {
		return mailstore.AppendResult{}, err
	}
	defer a.Abort()
	for _, b := range bodies {
		w, err := a.Add(meta, int64(len(b)))
		if err != nil {
			return mailstore.AppendResult{}, err
		}
		if _, err := io.WriteString(w, b); err != nil {
			return mailstore.AppendResult{}, err
		}
	}
	return a.Commit()
}

// add appends messages, each with text(id), and gives their UIDs.
func (p *process) add(name mailstore.Name, meta mailstore.AppendMeta, ids ...string) []mailstore.UID {
	p.e.Helper()
	var out []mailstore.UID
	for _, id := range ids {
		r, err := tryAppend(p, name, meta, text(id))
		if err != nil {
			p.e.Fatalf("append %s to %s: %v", id, name, err)
		}
		out = append(out, r.UIDs...)
	}
	return out
}

// body reads a whole message.
func body(mb mailstore.Mailbox, uid mailstore.UID) (string, error) {
	m, err := mb.Message(uid)
	if err != nil {
		return "", err
	}
	defer m.Close()
	b, err := io.ReadAll(io.NewSectionReader(m, 0, m.Size()))
	if err == nil && int64(len(b)) != m.Size() {
		err = fmt.Errorf("message %d has %d octets, and says %d", uid, len(b), m.Size())
	}
	return string(b), err
}

// id gives the name that text gave a message.
func id(body string) string {
	_, rest, _ := strings.Cut(body, "Subject: ")
	s, _, _ := strings.Cut(rest, "\r\n")
	return s
}

var flagLetters = []struct {
	f mailstore.Flags
	c string
}{{mailstore.Answered, "a"}, {mailstore.Flagged, "f"}, {mailstore.Deleted, "d"}, {mailstore.Seen, "s"}, {mailstore.Draft, "t"}}

func flagText(f mailstore.Flags) string {
	out := ""
	for _, l := range flagLetters {
		if f&l.f != 0 {
			out += l.c
		}
	}
	return out
}

// show writes a picture: "uid:flags[ keywords]" in order.
func show(s mailstore.Snapshot) string {
	var out []string
	last := mailstore.UID(0)
	for i := range s.Len() {
		e := s.At(i)
		t := fmt.Sprintf("%d:%s", e.UID, flagText(e.Flags))
		if k := s.Keywords(e.Keywords); len(k) > 0 {
			t += "[" + strings.Join(k, " ") + "]"
		}
		if e.UID <= last {
			t += " NOT ASCENDING"
		}
		if e.ModSeq == 0 || e.ModSeq > s.HighestModSeq() {
			t += fmt.Sprintf(" MODSEQ %d ABOVE %d", e.ModSeq, s.HighestModSeq())
		}
		if pos, ok := s.Find(e.UID); !ok || pos != i {
			t += " NOT FOUND"
		}
		if e.UID >= s.UIDNext() {
			t += " ABOVE UIDNEXT"
		}
		last = e.UID
		out = append(out, t)
	}
	return strings.Join(out, " ")
}

// see syncs and compares the picture.
func (e *env) see(mb mailstore.Mailbox, want string) mailstore.Snapshot {
	e.Helper()
	s, err := mb.Sync()
	if err != nil {
		e.Fatalf("sync: %v", err)
	}
	if got := show(s); got != want {
		e.Fatalf("the mailbox shows\n  %s\nwant\n  %s\n%s", got, want, e.disk.Dump())
	}
	return s
}

// seeSoon is see for changes that the driver may find a little later, where
// file times are coarse: within some seconds of the disk's clock.
func (e *env) seeSoon(mb mailstore.Mailbox, want string) {
	e.Helper()
	got := ""
	for range 200 {
		s, err := mb.Sync()
		e.must(err)
		if got = show(s); got == want {
			return
		}
		e.clock.Jump(50 * time.Millisecond)
		time.Sleep(time.Millisecond) // for a look in the background
	}
	e.Fatalf("the mailbox shows\n  %s\nwant\n  %s\n%s", got, want, e.disk.Dump())
}

func uids(n ...mailstore.UID) numset.Set { return numset.Of(n...) }

func store(e *env, mb mailstore.Mailbox, set numset.Set, op mailstore.FlagOp, f mailstore.Flags, keywords ...string) mailstore.StoreResult {
	e.Helper()
	r, err := mb.Store(mailstore.FlagChange{UIDs: set, Op: op, Flags: f, Keywords: keywords})
	if err != nil {
		e.Fatalf("store: %v", err)
	}
	return r
}

func sameSet(e *env, what string, got numset.Set, want ...mailstore.UID) {
	e.Helper()
	if !got.Equal(numset.Of(want...)) {
		e.Fatalf("%s: got %s, want %v", what, got, want)
	}
}
