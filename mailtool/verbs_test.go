package mailtool

import (
	"fmt"
	"strings"
	"testing"

	"rookery/internal/errkind"
	"rookery/internal/ipc/toolmsg"
	"rookery/internal/mailstore"
)

func TestMailboxVerbs(t *testing.T) {
	h := newHome(t)
	c := dial(t, h)
	c.must(toolmsg.Create, []string{"A/B", "C"}, "subscribe")
	c.refused(73, "has a mailbox C already", toolmsg.Create, []string{"C"})
	c.refused(65, "cannot be a mailbox", toolmsg.Create, []string{"a//b"})
	c.refused(64, "is empty", toolmsg.Create, []string{""})
	names := func(args []string, options ...string) string {
		var out []string
		for _, l := range c.must(toolmsg.List, args, options...) {
			out = append(out, l["mailbox"].(string))
		}
		return strings.Join(out, " ")
	}
	if got := names(nil); got != "A A/B C INBOX" {
		t.Error(got)
	}
	if got := names([]string{"%"}); got != "A C INBOX" {
		t.Error(got)
	}
	if got := names([]string{"inbox", "A/*"}, "subscribed"); got != "A/B" {
		t.Error(got)
	}
	c.refused(66, "ann has no mailbox D; see: rookeryctl mailbox list -u ann", toolmsg.List, []string{"D"})
	c.must(toolmsg.Rename, []string{"A", "D"})
	c.refused(73, "has a mailbox D already", toolmsg.Rename, []string{"C", "D"})
	c.refused(66, "no mailbox A", toolmsg.Rename, []string{"A", "E"})
	c.must(toolmsg.Delete, []string{"D"}, "recursive", "unsubscribe")
	if got := names(nil); got != "C INBOX" {
		t.Error(got)
	}
	c.refused(66, "no mailbox D", toolmsg.Delete, []string{"D"}, "recursive")
	c.must(toolmsg.Unsubscribe, []string{"C"})
	c.refused(66, "is not subscribed to C", toolmsg.Unsubscribe, []string{"C"})
	before := c.must(toolmsg.Status, []string{"C"})[0]["uidvalidity"].(float64)
	if after := c.must(toolmsg.Restored, []string{"C"})[0]["uidvalidity"].(float64); after <= before {
		t.Errorf("%v after %v", after, before)
	}
	c.refused(64, "takes 2 to 2 arguments, 1 were given", toolmsg.Rename, []string{"x"})
	c.refused(70, "does not know", "dance", nil)
}

func TestMessageVerbs(t *testing.T) {
	h := newHome(t)
	s := h.current(t)
	for i := range 1200 {
		put(t, s, "INBOX", fmt.Sprintf("Subject: %d\r\n\r\n", i), mailstore.AppendMeta{})
	}
	c := dial(t, h)
	box := "mailbox=INBOX"
	c.refused(64, "in which mailbox", toolmsg.Expunge, []string{"all"})
	c.refused(64, "which messages", toolmsg.Expunge, nil, box)
	c.refused(64, "add, remove or set", toolmsg.Flags, []string{"put", `\Seen`, "all"}, box)
	c.refused(64, "with the backslash", toolmsg.Flags, []string{"add", "Seen", "all"}, box)
	c.refused(64, "neither a flag", toolmsg.Flags, []string{"add", `\Nonsense`, "all"}, box)
	c.refused(64, "which flags", toolmsg.Flags, []string{"add", "", "all"}, box)
	c.refused(64, "is no key", toolmsg.Search, []string{"nonsense"})
	c.refused(64, "no field x", toolmsg.Fetch, []string{"all"}, "field=x")
	if got := fmt.Sprint(c.must(toolmsg.Flags, []string{"add", `\Seen $x`, "all"}, box)); got != "[map[changed:1200 mailbox:INBOX]]" {
		t.Error(got)
	}
	c.must(toolmsg.Flags, []string{"set", "", "uid", "7"}, box)
	if got := fmt.Sprint(c.must(toolmsg.Search, []string{"unseen", "unkeyword", "$X"})); got != "[map[mailbox:INBOX uid:7]]" {
		t.Error(got)
	}
	c.refused(66, "--create makes it", toolmsg.Move, []string{"Old", "all"}, box)
	if got := fmt.Sprint(c.must(toolmsg.Move, []string{"Old", "seen"}, box, "dry-run", "create")); got != "[map[dry_run:true mailbox:INBOX moved:1199]]" {
		t.Error(got)
	}
	if got := fmt.Sprint(c.must(toolmsg.Move, []string{"Old", "seen"}, box, "create")); got != "[map[mailbox:INBOX moved:1199]]" {
		t.Error(got)
	}
	c.refused(64, "lie in Old already", toolmsg.Copy, []string{"Old", "all"}, "mailbox=Old")
	if got := fmt.Sprint(c.must(toolmsg.Expunge, []string{"1:1100"}, "mailbox=Old")); got != "[map[expunged:1100 mailbox:Old]]" {
		t.Error(got)
	}
	if got := fmt.Sprint(c.must(toolmsg.Search, []string{"all"}, "count", "mailbox=*")); got != "[map[count:1 mailbox:INBOX] map[count:99 mailbox:Old]]" {
		t.Error(got)
	}
	big := strings.Repeat("x", 3*toolmsg.MaxLine)
	put(t, s, "INBOX", "Subject: b\r\n\r\n"+big, mailstore.AppendMeta{})
	if got := c.must(toolmsg.Fetch, []string{"larger", "100k"}, "field=body"); got[0]["body"] != big {
		t.Errorf("a long body has %d octets", len(got[0]["body"].(string)))
	}
	c.refused(70, "cannot be verified", toolmsg.Verify, nil)
	c.refused(64, "nothing is held", toolmsg.Undelete, nil)
	c.refused(64, "has no quota", toolmsg.Quota, nil, "recalc")
}

// A message that cannot be read does not keep the others from being found.
func TestUnreadable(t *testing.T) {
	h := newHome(t)
	s := h.current(t)
	for range 3 {
		put(t, s, "INBOX", "Subject: x\r\n\r\n", mailstore.AppendMeta{})
	}
	bad := &badHome{fakeHome: h}
	c := dialHome(t, bad)
	lines, done := c.do(toolmsg.Search, []string{"subject", "x"})
	if done.Exit != 65 || !strings.Contains(done.Text, "1 messages could not be read") || len(lines) != 3 || lines[1]["error"] == nil {
		t.Errorf("%d %s %v", done.Exit, done.Text, lines)
	}
}

type badHome struct{ *fakeHome }

func (h *badHome) Open() (mailstore.Store, error) {
	s, err := h.fakeHome.Open()
	return badStore{s}, err
}

// badStore cannot read the message with UID 2.
type badStore struct{ mailstore.Store }

func (s badStore) Open(n mailstore.Name) (mailstore.Mailbox, error) {
	b, err := s.Store.Open(n)
	return badBox{b}, err
}

type badBox struct{ mailstore.Mailbox }

func (b badBox) Message(uid mailstore.UID) (mailstore.Message, error) {
	if uid == 2 {
		return nil, errkind.Newf("open", errkind.IO, "the disk says no")
	}
	return b.Mailbox.Message(uid)
}

// An import keeps what came whole, whatever the other end does.
func TestImport(t *testing.T) {
	h := newHome(t)
	c := dial(t, h)
	send := func(parts ...any) (string, uint8) {
		if err := c.flow.Send(&toolmsg.Request{Verb: toolmsg.Import, Args: []string{"Top"}, Options: []string{"new-only"}}); err != nil {
			t.Fatal(err)
		}
		for _, p := range parts {
			var err error
			switch p := p.(type) {
			case *toolmsg.Folder:
				err = c.flow.Send(p)
			case *toolmsg.Item:
				err = c.flow.Send(p)
			case *toolmsg.Data:
				err = c.flow.Send(p)
			case *toolmsg.End:
				err = c.flow.Send(p)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		lines, done := c.finish()
		return fmt.Sprint(lines, done.Text), done.Exit
	}
	text := []byte("Subject: one\r\n\r\nbody")
	item := &toolmsg.Item{Size: int64(len(text)), Flags: 0xff, Keywords: []string{"$a"}}
	got, exit := send(&toolmsg.Folder{Name: "", Subscribed: true}, item, &toolmsg.Data{Bytes: text[:7]}, &toolmsg.Data{Bytes: text[7:], Last: true},
		&toolmsg.Folder{Name: "x/y"}, item, &toolmsg.Data{Bytes: text, Last: true}, item, &toolmsg.Data{Bytes: text, Last: true}, &toolmsg.End{})
	if exit != 0 || got != "[map[imported:1 mailbox:Top there_already:0] map[imported:1 mailbox:Top/x/y there_already:1]]" {
		t.Errorf("%d %s", exit, got)
	}
	for what, parts := range map[string][]any{
		"before its folder":   {item},
		"within a message":    {&toolmsg.Folder{Name: "z"}, item, &toolmsg.End{}},
		"cannot be a mailbox": {&toolmsg.Folder{Name: "a\x00b"}},
		"invalid":             {&toolmsg.Folder{Name: "z"}, &toolmsg.Item{Size: 50}, &toolmsg.Data{Bytes: text, Last: true}, &toolmsg.End{}},
		"in an import":        {&toolmsg.Data{Bytes: text}},
	} {
		if got, exit := send(parts...); exit == 0 || !strings.Contains(got, what) {
			t.Errorf("%s: %d %s", what, exit, got)
		}
		c = dial(t, h) // what is left of the import must not be taken for a request
	}
	if st, err := h.current(t).Status("Top/z", mailstore.StatusWant{}); err != nil || st.Messages != 0 {
		t.Errorf("%+v %v", st, err)
	}
}
