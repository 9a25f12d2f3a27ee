package view

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"rookery/internal/errkind"
	"rookery/internal/imapwire"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/memstore"
	"rookery/internal/numset"
)

// mailbox gives an INBOX of n messages.
func mailbox(t *testing.T, n int) (*memstore.Store, mailstore.Mailbox) {
	t.Helper()
	s := memstore.New(memstore.Options{})
	deliver(t, s, n)
	box, err := s.Open("INBOX")
	if err != nil {
		t.Fatal(err)
	}
	return s, box
}

func deliver(t *testing.T, s *memstore.Store, n int) {
	t.Helper()
	a, err := s.Append("INBOX")
	if err != nil {
		t.Fatal(err)
	}
	for range n {
		w, err := a.Add(mailstore.AppendMeta{}, 2)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(w, "x\n")
	}
	if _, err := a.Commit(); err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, box mailstore.Mailbox) *View {
	t.Helper()
	v, err := New(box, false)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func announce(t *testing.T, v *View, may May) string {
	t.Helper()
	if err := v.Sync(); err != nil {
		t.Fatal(err)
	}
	var e imapwire.Encoder
	if err := v.Announce(&e, may); err != nil {
		t.Fatal(err)
	}
	return string(e.Bytes())
}

func TestResolve(t *testing.T) {
	_, box := mailbox(t, 6)
	if _, err := box.Expunge(numset.Of(2, 5)); err != nil {
		t.Fatal(err)
	}
	v := open(t, box) // UIDs 1, 3, 4, 6
	for _, test := range []struct {
		set  string
		uid  bool
		want string // "!" for BAD
	}{
		{"1:*", false, "1,3:4,6"}, {"*", false, "6"}, {"4:2", false, "3:4,6"}, {"5", false, "!"}, {"2:5", false, "!"}, {"1,2", false, "1,3"},
		{"*:1", false, "1,3:4,6"},
		{"1:*", true, "1,3:4,6"}, {"2", true, ""}, {"2:5", true, "3:4"}, {"99:*", true, "6"}, {"7:9", true, ""}, {"4294967295", true, ""},
	} {
		expr, err := numset.Parse([]byte(test.set), 10)
		if err != nil {
			t.Fatal(err)
		}
		got, err := v.Resolve(expr, test.uid)
		text := got.String()
		if errkind.Is(err, errkind.Invalid) {
			text = "!"
		}
		if text != test.want {
			t.Errorf("%s, uid %v: %q, want %q", test.set, test.uid, text, test.want)
		}
	}
	_, empty := mailbox(t, 0)
	v = open(t, empty)
	if got, err := v.Resolve(numset.Expr{{First: 1, Last: numset.Star}}, true); err != nil || !got.Empty() {
		t.Errorf("UIDs of an empty mailbox: %v, %v", got, err)
	}
	if _, err := v.Resolve(numset.Expr{{First: 1, Last: numset.Star}}, false); !errkind.Is(err, errkind.Invalid) {
		t.Errorf("numbers of an empty mailbox: %v", err)
	}
}

func TestAnnounceWaits(t *testing.T) {
	s, box := mailbox(t, 4)
	v, other := open(t, box), open(t, box)
	if v.RecentCount() != 4 || other.RecentCount() != 0 {
		t.Errorf("recent: %d and %d", v.RecentCount(), other.RecentCount())
	}
	if _, err := box.Expunge(numset.Of(1, 3, 4)); err != nil {
		t.Fatal(err)
	}
	deliver(t, s, 1)
	if out := announce(t, v, May{Exists: true}); out != "" || v.Len() != 4 || v.UID(3) != 3 || !v.PendingExpunges() {
		t.Errorf("told %q, %d messages", out, v.Len())
	}
	if _, _, gone := v.Entry(3); !gone {
		t.Error("message 3 is not gone")
	}
	if out := announce(t, v, May{Expunge: true}); out != "* 1 EXPUNGE\r\n* 2 EXPUNGE\r\n* 2 EXPUNGE\r\n* 1 RECENT\r\n" || v.Len() != 1 {
		t.Errorf("told %q, %d messages", out, v.Len())
	}
	if out := announce(t, v, May{Expunge: true, Exists: true}); out != "* 2 EXISTS\r\n* 2 RECENT\r\n" || v.UID(2) != 5 {
		t.Errorf("told %q", out)
	}
	if out := announce(t, v, May{Expunge: true, Exists: true}); out != "" {
		t.Errorf("told %q twice", out)
	}
}

// Flags that were told are not told again, until they change again.
func TestMarkTold(t *testing.T) {
	_, box := mailbox(t, 2)
	v := open(t, box)
	change := func(op mailstore.FlagOp) {
		t.Helper()
		if _, err := box.Store(mailstore.FlagChange{UIDs: numset.Of(1, 2), Op: op, Flags: mailstore.Seen}); err != nil {
			t.Fatal(err)
		}
		v.Refresh()
	}
	change(mailstore.AddFlags)
	v.MarkTold(1)
	change(mailstore.RemoveFlags)
	change(mailstore.AddFlags)
	if out := announce(t, v, May{UID: true}); out != "* 2 FETCH (UID 2 FLAGS (\\Seen \\Recent))\r\n" {
		t.Errorf("told %q", out)
	}
	change(mailstore.RemoveFlags)
	v.MarkTold(1)
	change(mailstore.AddFlags)
	if out := announce(t, v, May{}); out != "* 1 FETCH (FLAGS (\\Seen \\Recent))\r\n" {
		t.Errorf("told %q", out)
	}
}

func TestMarkSeen(t *testing.T) {
	s, box := mailbox(t, 3)
	v := open(t, box)
	if got, err := v.MarkSeen(numset.Of(1, 2, 9)); got.String() != "1:2" || err != nil {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := v.MarkSeen(numset.Of(2, 3)); got.String() != "3" || err != nil {
		t.Errorf("%v, %v", got, err)
	}
	deliver(t, s, 1)
	examined, err := New(box, true)
	if err != nil {
		t.Fatal(err)
	}
	if recent, err := box.ClaimRecent(true); recent.String() != "4" || err != nil {
		t.Errorf("EXAMINE took \\Recent: left %v, %v", recent, err)
	}
	if got, err := examined.MarkSeen(numset.Of(4)); !got.Empty() || err != nil {
		t.Errorf("EXAMINE marks as seen: %v, %v", got, err)
	}
}

// What .SILENT may hide is the client's own change and nothing else.
func TestForeseen(t *testing.T) {
	_, box := mailbox(t, 1)
	store := func(op mailstore.FlagOp, flags mailstore.Flags, keywords ...string) mailstore.FlagChange {
		t.Helper()
		change := mailstore.FlagChange{UIDs: numset.Of(1), Op: op, Flags: flags, Keywords: keywords}
		if _, err := box.Store(change); err != nil {
			t.Fatal(err)
		}
		return change
	}
	for _, c := range []struct {
		name   string
		others func() // what another session does between the client's last look and its own change
		op     mailstore.FlagOp
		flags  mailstore.Flags
		words  []string
		want   bool
	}{
		{"alone", func() {}, mailstore.AddFlags, mailstore.Seen, []string{"Own"}, true},
		{"a flag of another's", func() { store(mailstore.AddFlags, mailstore.Flagged) }, mailstore.AddFlags, mailstore.Seen, nil, false},
		{"a keyword of another's", func() { store(mailstore.AddFlags, 0, "Theirs") }, mailstore.AddFlags, 0, []string{"Own"}, false},
		{"the same keyword", func() { store(mailstore.AddFlags, 0, "Own") }, mailstore.AddFlags, 0, []string{"own"}, true},
		{"another's keyword, replaced", func() { store(mailstore.AddFlags, 0, "Theirs") }, mailstore.SetFlags, mailstore.Seen, nil, true},
		{"a keyword taken away", func() { store(mailstore.RemoveFlags, 0, "Base") }, mailstore.AddFlags, mailstore.Seen, nil, false},
		{"a keyword taken away by both", func() { store(mailstore.RemoveFlags, 0, "Base") }, mailstore.RemoveFlags, 0, []string{"Base"}, true},
		{"remove", func() {}, mailstore.RemoveFlags, mailstore.Seen, []string{"Base", "none"}, true},
	} {
		store(mailstore.SetFlags, mailstore.Answered, "Base")
		v := open(t, box)
		c.others()
		change := store(c.op, c.flags, c.words...)
		v.Refresh()
		if got := v.Foreseen(1, change); got != c.want {
			t.Errorf("%s: %t", c.name, got)
		}
	}
}

// pieces is an Output that keeps what it gets; Body is what sendfile would send.
type pieces struct {
	sent []byte
	raw  int64
}

func (p *pieces) Flush(e *imapwire.Encoder) error {
	p.sent = append(p.sent, e.Bytes()...)
	e.Reset()
	return nil
}

func (p *pieces) Body(_ mailstore.Message, _, n int64) error {
	p.raw += n
	return nil
}

// No NUL goes out, in a small body or a large one; a large one without any goes
// as the store has it.
func TestBody(t *testing.T) {
	s, box := mailbox(t, 0)
	text := bytes.Repeat([]byte("0123456\x00"), SmallBody/2)
	a, err := s.Append("INBOX")
	if err != nil {
		t.Fatal(err)
	}
	w, err := a.Add(mailstore.AppendMeta{}, int64(len(text)))
	if err != nil {
		t.Fatal(err)
	}
	w.Write(text)
	if _, err := a.Commit(); err != nil {
		t.Fatal(err)
	}
	if _, err := box.Sync(); err != nil {
		t.Fatal(err)
	}
	m, err := box.Message(1)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	masked := bytes.ReplaceAll(text, []byte{0}, []byte{0x80})
	for _, n := range []int64{1, 8, SmallBody, SmallBody + 1, int64(len(text)) - 3} {
		var out pieces
		c := Context{Enc: &imapwire.Encoder{}, Out: &out}
		if err := c.Body(m, 3, n, false); err != nil {
			t.Fatal(err)
		}
		out.Flush(c.Enc)
		if !bytes.Equal(out.sent, masked[3:3+n]) || out.raw != 0 {
			t.Errorf("%d octets: sent %d, %d as they are", n, len(out.sent), out.raw)
		}
	}
	var out pieces
	c := Context{Enc: &imapwire.Encoder{}, Out: &out}
	if err := c.Body(m, 0, int64(len(text)), true); err != nil || out.raw != int64(len(text)) {
		t.Errorf("plain: %d as they are, %v", out.raw, err)
	}
}

// otherWords is a mailbox whose index was built anew, and knows other keywords.
type otherWords struct {
	mailstore.Mailbox
	words []string
}

func (b *otherWords) Keywords() []string { return b.words }

// As many keywords as before may be others: the client is told, and none is taken back
// (RFC 3501 §7.2.6).
func TestOtherKeywords(t *testing.T) {
	s, box := mailbox(t, 1)
	defer s.Close()
	defer box.Close()
	b := &otherWords{box, []string{"$old"}}
	v := open(t, b)
	if got := announce(t, v, May{Expunge: true, Exists: true}); got != "" {
		t.Errorf("told %q", got)
	}
	b.words = []string{"$new"}
	if got, want := announce(t, v, May{Expunge: true, Exists: true}), `* FLAGS (\Answered \Flagged \Deleted \Seen \Draft $old $new)`; !strings.HasPrefix(got, want) {
		t.Errorf("told %q, want %s", got, want)
	}
}

// renumbered is a picture with the same in it whose sets of keywords have other numbers.
type renumbered struct{ mailstore.Snapshot }

func (r renumbered) At(pos int) mailstore.Entry {
	e := r.Snapshot.At(pos)
	e.Keywords += 100
	return e
}

func (r renumbered) Keywords(set uint32) []string {
	if set < 100 {
		return []string{"$wrong"}
	}
	return r.Snapshot.Keywords(set - 100)
}

// reopened is a mailbox that was opened anew behind the view.
type reopened struct{ mailstore.Mailbox }

func (b reopened) Sync() (mailstore.Snapshot, error) {
	s, err := b.Mailbox.Sync()
	return renumbered{s}, err
}

// The keywords of a message are those of the picture that its entry is from.
func TestWalkRenumbered(t *testing.T) {
	s, box := mailbox(t, 2)
	defer s.Close()
	defer box.Close()
	if _, err := box.Store(mailstore.FlagChange{UIDs: numset.Of(2), Op: mailstore.AddFlags, Keywords: []string{"$mine"}}); err != nil {
		t.Fatal(err)
	}
	v := open(t, box)
	v.box = reopened{box}
	if err := v.Sync(); err != nil {
		t.Fatal(err)
	}
	var got [][]string
	err := v.Walk(v.All(), make([]Item, 8), nil, func(items []Item) error {
		for i := range items {
			got = append(got, v.KeywordsOf(&items[i]))
		}
		return nil
	})
	if err != nil || len(got) != 2 || len(got[0]) != 0 || len(got[1]) != 1 || got[1][0] != "$mine" {
		t.Errorf("keywords %q, %v", got, err)
	}
}
