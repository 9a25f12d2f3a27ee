package memstore

import (
	"io"
	"testing"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/numset"
)

func add(t *testing.T, s *Store, name string, bodies ...string) mailstore.AppendResult {
	t.Helper()
	a, err := s.Append(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, body := range bodies {
		w, err := a.Add(mailstore.AppendMeta{}, int64(len(body)))
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(w, body)
	}
	result, err := a.Commit()
	if err != nil {
		t.Fatal(err)
	}
	return result
}

func TestSnapshotsStay(t *testing.T) {
	s := New(Options{})
	add(t, s, "INBOX", "a\n", "b\n", "c\n")
	box, err := s.Open("INBOX")
	if err != nil {
		t.Fatal(err)
	}
	c := make(chan struct{}, 1)
	defer box.Watch(c)()
	before := box.Snapshot()
	if _, err := box.Store(mailstore.FlagChange{UIDs: numset.Of(1, 9), Op: mailstore.AddFlags, Flags: mailstore.Seen, Keywords: []string{"x"}}); err != nil {
		t.Fatal(err)
	}
	if gone, err := box.Expunge(numset.Of(2, 9)); gone.String() != "2" || err != nil {
		t.Errorf("expunged %v, %v", gone, err)
	}
	after := box.Snapshot()
	if before.Len() != 3 || before.At(0).Flags != 0 || after.Len() != 2 || after.At(0).Flags != mailstore.Seen || after.Keywords(after.At(0).Keywords)[0] != "x" {
		t.Errorf("before %+v, after %+v", before, after)
	}
	if len(c) != 1 {
		t.Error("nobody was woken")
	}
	if set, complete, _ := box.ExpungedSince(before.HighestModSeq()); set.String() != "2" || !complete {
		t.Errorf("expunged since: %v %v", set, complete)
	}
	m, err := box.Message(3)
	if err != nil || m.Size() != 3 {
		t.Errorf("message: %v", err) // "c\r\n"
	}
	if _, err := box.Message(2); !errkind.Is(err, errkind.Expunged) {
		t.Error(err)
	}
}

func TestMoveAndNames(t *testing.T) {
	s := New(Options{Quota: mailstore.Quota{MessagesLimit: 3}})
	add(t, s, "INBOX", "a\n", "b\n")
	if _, err := s.Create("x/y", 0); err != nil {
		t.Fatal(err)
	}
	box, _ := s.Open("INBOX")
	if r, err := box.Move(numset.Of(2), "x/y"); err != nil || len(r.To) != 1 || r.To[0] != 1 || r.From[0] != 2 {
		t.Errorf("%+v %v", r, err)
	}
	if _, err := box.Copy(numset.Of(1), "x/y"); err != nil {
		t.Error(err)
	}
	if _, err := box.Copy(numset.Of(1), "x/y"); !errkind.Is(err, errkind.OverQuota) {
		t.Error("no quota:", err)
	}
	if err := s.Rename("x", "x/z"); !errkind.Is(err, errkind.Invalid) {
		t.Error(err)
	}
	if err := s.Rename("x", "z"); err != nil {
		t.Error(err)
	}
	if f, err := s.Lookup("z"); err != nil || f.Attrs != mailstore.NonExistent|mailstore.NoSelect|mailstore.HasChildren {
		t.Errorf("%+v %v", f, err)
	}
	if err := s.Delete("z"); !errkind.Is(err, errkind.Invalid) {
		t.Error(err)
	}
	open, _ := s.Open("z/y")
	if err := s.Delete("z/y"); err != nil {
		t.Error(err)
	}
	if _, err := open.Sync(); !errkind.Is(err, errkind.NotFound) {
		t.Error(err)
	}
}
