package mailtool

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/ipc"
	"rookery/internal/ipc/toolmsg"
	"rookery/internal/ipc/workermsg"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/memstore"
	"rookery/internal/numset"
	"rookery/internal/vfs"
	"rookery/internal/vfs/memfs"
	"rookery/internal/worker"
)

var testTime = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// fakeHome keeps stores in memory, which outlive the service as a disk does.
type fakeHome struct {
	mu     sync.Mutex // the race detector does not see what a socket orders
	fs     *memfs.FS
	stores map[worker.Place]*memstore.Store
	// left is how many changes the stores still take before all fail; -1: any.
	left      int
	inspected []mailstore.Finding     // what Inspect finds
	told      [][]workermsg.Published // what the list of shares was told
	// atSwitch runs just before the place is switched.
	atSwitch func()
}

// switchFS tells of the rename that switches.
type switchFS struct {
	vfs.FS
	h *fakeHome
}

func (s switchFS) Rename(from, to string) error {
	s.h.mu.Lock()
	do := s.h.atSwitch
	s.h.mu.Unlock()
	if to == "m/"+worker.PlaceFile && do != nil {
		do()
	}
	return s.FS.Rename(from, to)
}

func newHome(t *testing.T) *fakeHome {
	t.Helper()
	h := &fakeHome{fs: memfs.New(memfs.Options{}), stores: map[worker.Place]*memstore.Store{}, left: -1}
	if err := vfs.MkdirAll(h.fs, "m", 0o700); err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *fakeHome) tell(boxes []workermsg.Published) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.told = append(h.told, boxes)
}

// wantTold compares with what the list of shares was told since the last call.
func (h *fakeHome) wantTold(t *testing.T, want ...string) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	got := []string{}
	for _, boxes := range h.told {
		got = append(got, strings.Trim(fmt.Sprint(boxes), "[]{}"))
	}
	if !slices.Equal(got, append([]string{}, want...)) {
		t.Errorf("told %q, want %q", got, want)
	}
	h.told = nil
}

func (h *fakeHome) Place() (worker.Place, error) {
	data, err := vfs.ReadFile(h.fs, "m/"+worker.PlaceFile, 1<<10)
	if err != nil {
		return worker.Place{Driver: "old"}, nil
	}
	return worker.DecodePlace(data)
}

func (h *fakeHome) at(p worker.Place) *memstore.Store {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.stores[p] == nil {
		h.stores[p] = memstore.New(memstore.Options{Now: func() time.Time { return testTime }})
	}
	return h.stores[p]
}

func (h *fakeHome) OpenPlace(p worker.Place) (mailstore.Store, error) {
	if p.Driver == "simple" {
		return struct{ mailstore.Store }{h.at(p)}, nil // it cannot restore
	}
	if p.Below != "" {
		if err := vfs.MkdirAll(h.fs, "m/"+p.Below+"/deep", 0o700); err != nil {
			return nil, err
		}
		return flaky{h.at(p), h}, nil
	}
	return h.at(p), nil
}

func (h *fakeHome) Open() (mailstore.Store, error) {
	p, err := h.Place()
	if err != nil {
		return nil, err
	}
	return h.OpenPlace(p)
}

func (h *fakeHome) Dry() home { return h }

func (h *fakeHome) Inspect(repair bool, found func(mailstore.Finding)) error {
	for _, f := range h.inspected {
		f.Repaired = repair && f.Kind != "stubborn"
		found(f)
	}
	return nil
}

func (h *fakeHome) Controls() (controls, error) {
	return controls{switchFS{h.fs, h}, []string{"m"}}, nil
}

// current is the user's store, and source the one of the settings.
func (h *fakeHome) current(t *testing.T) *memstore.Store {
	t.Helper()
	p, err := h.Place()
	if err != nil {
		t.Fatal(err)
	}
	return h.at(p)
}

var errCut = errkind.Newf("change", errkind.IO, "the power is gone")

// flaky fails after some changes: what the process had done by then stays.
type flaky struct {
	*memstore.Store
	h *fakeHome
}

func (h *fakeHome) cut() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.left == 0 {
		return true
	}
	if h.left > 0 {
		h.left--
	}
	return false
}

func (f flaky) Restore(n mailstore.Name, id mailstore.Identity) error {
	if f.h.cut() {
		return errCut
	}
	if strings.HasPrefix(n, "rookery-held/") {
		return errkind.Newf("restore", errkind.Invalid, "no such name here")
	}
	return f.Store.Restore(n, id)
}

func (f flaky) Delete(n mailstore.Name) error {
	if f.h.cut() {
		return errCut
	}
	return f.Store.Delete(n)
}

func (f flaky) Subscribe(n mailstore.Name, on bool) error {
	if f.h.cut() {
		return errCut
	}
	return f.Store.Subscribe(n, on)
}

func (f flaky) Append(n mailstore.Name) (mailstore.Appender, error) {
	a, err := f.Store.Append(n)
	return flakyAppender{a, f.h}, err
}

func (f flaky) Open(n mailstore.Name) (mailstore.Mailbox, error) {
	b, err := f.Store.Open(n)
	return flakyBox{b, f.h}, err
}

type flakyAppender struct {
	mailstore.Appender
	h *fakeHome
}

func (f flakyAppender) Commit() (mailstore.AppendResult, error) {
	if f.h.cut() {
		return mailstore.AppendResult{}, errCut
	}
	return f.Appender.Commit()
}

type flakyBox struct {
	mailstore.Mailbox
	h *fakeHome
}

func (f flakyBox) Store(c mailstore.FlagChange) (mailstore.StoreResult, error) {
	if f.h.cut() {
		return mailstore.StoreResult{}, errCut
	}
	return f.Mailbox.Store(c)
}

func (f flakyBox) Expunge(u numset.Set) (numset.Set, error) {
	if f.h.cut() {
		return numset.Set{}, errCut
	}
	return f.Mailbox.Expunge(u)
}

// client is rookeryctl's end.
type client struct {
	t    *testing.T
	flow *toolmsg.Flow
	over chan error
}

// dial runs a service until the test ends or hang is called.
func dial(t *testing.T, h *fakeHome) *client {
	t.Helper()
	return dialHome(t, h)
}

func dialHome(t *testing.T, h home) *client {
	t.Helper()
	a, b, err := ipc.Pair()
	if err != nil {
		t.Fatal(err)
	}
	mine, err := toolmsg.NewFlow(a, ipc.FromServer)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := toolmsg.NewFlow(b, ipc.FromClient)
	if err != nil {
		t.Fatal(err)
	}
	s := &service{flow: theirs, user: "ann", home: h, changed: func() {}, tell: func([]workermsg.Published) {}, now: func() time.Time { return testTime },
		uidl: func(v uidlVars) (string, error) { return fmt.Sprintf("%08x%08x", v.uid, v.validity), nil }}
	if f, ok := h.(*fakeHome); ok {
		s.tell = f.tell
	}
	c := &client{t: t, flow: mine, over: make(chan error, 1)}
	go func() {
		err := s.serve(context.Background())
		theirs.Close()
		c.over <- err
	}()
	t.Cleanup(c.hang)
	return c
}

// hang ends the service and waits until it has.
func (c *client) hang() {
	c.flow.Close()
	if err := <-c.over; err != nil {
		c.t.Errorf("the service ended: %v", err)
	}
	c.over <- nil
}

// do makes a request and gives its lines and how it ended.
func (c *client) do(verb string, args []string, options ...string) (lines []map[string]any, done *toolmsg.Done) {
	c.t.Helper()
	if err := c.flow.Send(&toolmsg.Request{Verb: verb, Args: args, Options: options}); err != nil {
		c.t.Fatal(err)
	}
	return c.finish()
}

func (c *client) finish() (lines []map[string]any, done *toolmsg.Done) {
	c.t.Helper()
	var text []byte
	for {
		m, _, err := c.flow.Next(context.Background())
		if errors.Is(err, io.EOF) {
			c.t.Fatal("the service is gone")
		}
		if err != nil {
			c.t.Fatal(err)
		}
		switch m := m.(type) {
		case *toolmsg.Line:
			if text = append(text, m.JSON...); m.More {
				continue
			}
			var row map[string]any
			if err := json.Unmarshal(text, &row); err != nil {
				c.t.Fatalf("%q: %v", text, err)
			}
			lines, text = append(lines, row), nil
		case *toolmsg.Done:
			return lines, m
		}
	}
}

// must is do that succeeds.
func (c *client) must(verb string, args []string, options ...string) []map[string]any {
	c.t.Helper()
	lines, done := c.do(verb, args, options...)
	if done.Exit != 0 {
		c.t.Fatalf("%s %q %q: exit %d: %s", verb, args, options, done.Exit, done.Text)
	}
	return lines
}

// refused is do that fails with an exit code and a text.
func (c *client) refused(exit uint8, text, verb string, args []string, options ...string) {
	c.t.Helper()
	_, done := c.do(verb, args, options...)
	if done.Exit != exit || !strings.Contains(done.Text, text) {
		c.t.Errorf("%s %q %q: exit %d %q, want %d %q", verb, args, options, done.Exit, done.Text, exit, text)
	}
}

// put appends a message to a store.
func put(t *testing.T, s mailstore.Store, box, body string, meta mailstore.AppendMeta) mailstore.UID {
	t.Helper()
	a, err := s.Append(box)
	if err != nil {
		t.Fatal(err)
	}
	w, err := a.Add(meta, int64(len(body)))
	if err == nil {
		_, err = io.WriteString(w, body)
	}
	var r mailstore.AppendResult
	if err == nil {
		r, err = a.Commit()
	}
	if err != nil {
		t.Fatal(err)
	}
	return r.UIDs[0]
}

// dump writes all that clients can see of a store, in a form of its own: what
// the tool compares is not asked.
func dump(t *testing.T, s mailstore.Store) string {
	t.Helper()
	var b strings.Builder
	all, err := s.List()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		fmt.Fprintf(&b, "%s %t", f.Name, f.Attrs&mailstore.Subscribed != 0)
		if f.Attrs&mailstore.NoSelect != 0 {
			fmt.Fprintln(&b, " -")
			continue
		}
		box, err := s.Open(f.Name)
		if err != nil {
			t.Fatal(err)
		}
		info, snap := box.Info(), box.Snapshot()
		fmt.Fprintf(&b, " v%d n%d %x\n", info.UIDValidity, snap.UIDNext(), info.GUID)
		for i := range snap.Len() {
			e := snap.At(i)
			facts, err := box.Facts(e.UID, mailstore.FactsWant{Size: true, InternalDate: true, SaveDate: true, GUID: true, UIDL: true})
			if err != nil {
				t.Fatal(err)
			}
			msg, err := box.Message(e.UID)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(io.NewSectionReader(msg, 0, msg.Size()))
			if err != nil {
				t.Fatal(err)
			}
			msg.Close()
			fmt.Fprintf(&b, "  %d %d %v %d %d %x %s %d %q\n", e.UID, e.Flags, snap.Keywords(e.Keywords), facts.InternalDate.Unix(), facts.SaveDate.Unix(), facts.GUID, facts.UIDL, facts.Order, body)
		}
		box.Close()
	}
	subs, err := s.Subscriptions()
	fmt.Fprintln(&b, subs, err)
	return b.String()
}
