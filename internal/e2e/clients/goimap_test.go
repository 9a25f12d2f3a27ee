package clients

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"rookery/internal/e2e/harness"
)

// A client library that reads each answer strictly, once as IMAP4rev1 and once as
// IMAP4rev2, understands all that it asks for.
func TestGoIMAP(t *testing.T) {
	for name, rev2 := range map[string]bool{"rev1": false, "rev2": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			newGoIMAP(t, harness.Start(t), rev2).all()
		})
	}
}

type goIMAP struct {
	t       *testing.T
	d       *harness.Demo
	c       *imapclient.Client
	told    chan uint32 // what came without being asked for: EXISTS
	letter  []byte
	uid     imap.UID
	special string
}

func newGoIMAP(t *testing.T, d *harness.Demo, rev2 bool) *goIMAP {
	g := &goIMAP{t: t, d: d, told: make(chan uint32, 64), special: "Ablage.Büro",
		letter: []byte("From: Ann <ann@example.test>\r\nTo: bob@example.test\r\nSubject: =?utf-8?q?gr=C3=BCn?=\r\nDate: Thu, 01 Feb 2024 03:04:05 +0100\r\n" +
			"Message-ID: <1@example.test>\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nhello\r\n--b\r\n" +
			"Content-Type: application/octet-stream; name=\"a b.bin\"\r\nContent-Transfer-Encoding: base64\r\n\r\nAAECAw==\r\n--b--\r\n")}
	g.c = g.connect(rev2, &imapclient.UnilateralDataHandler{Mailbox: func(data *imapclient.UnilateralDataMailbox) {
		if data.NumMessages != nil {
			g.told <- *data.NumMessages
		}
	}})
	return g
}

func (g *goIMAP) connect(rev2 bool, handler *imapclient.UnilateralDataHandler) *imapclient.Client {
	g.t.Helper()
	conf, err := g.d.TLS()
	if err != nil {
		g.t.Fatal(err)
	}
	c, err := imapclient.DialTLS(g.d.Addr("imaps"), &imapclient.Options{TLSConfig: conf, UnilateralDataHandler: handler})
	g.must("connect", err)
	g.t.Cleanup(func() { c.Close() })
	g.must("login", c.Login("u1", "pass").Wait())
	if rev2 {
		done, err := c.Enable(imap.CapIMAP4rev2).Wait()
		g.must("enable", err)
		if !done.Caps.Has(imap.CapIMAP4rev2) {
			g.t.Errorf("enabled %v", done.Caps)
		}
	}
	return c
}

func (g *goIMAP) must(what string, err error) {
	g.t.Helper()
	if err != nil {
		g.t.Fatalf("%s: %v", what, err)
	}
}

func (g *goIMAP) all() {
	g.mailboxes()
	g.messages()
	g.searches()
	g.changes()
	g.notes()
	g.idle()
	g.must("logout", g.c.Logout().Wait())
}

func (g *goIMAP) mailboxes() {
	g.t.Helper()
	spaces, err := g.c.Namespace().Wait()
	g.must("namespace", err)
	if len(spaces.Personal) != 1 {
		g.t.Errorf("namespaces %+v", spaces)
	}
	g.must("create", g.c.Create(g.special, &imap.CreateOptions{SpecialUse: []imap.MailboxAttr{imap.MailboxAttrArchive}}).Wait())
	g.must("subscribe", g.c.Subscribe(g.special).Wait())
	size := imap.StatusOptions{NumMessages: true, UIDNext: true, UIDValidity: true, NumUnseen: true, Size: true, HighestModSeq: true}
	list, err := g.c.List("", "*", &imap.ListOptions{ReturnStatus: &size, ReturnSubscribed: true, ReturnChildren: true, ReturnSpecialUse: true}).Collect()
	g.must("list", err)
	at := slices.IndexFunc(list, func(l *imap.ListData) bool { return l.Mailbox == g.special })
	if at < 0 {
		g.t.Fatalf("%q is not among %d mailboxes", g.special, len(list))
	}
	if l := list[at]; !slices.Contains(l.Attrs, imap.MailboxAttrArchive) || !slices.Contains(l.Attrs, imap.MailboxAttrSubscribed) || l.Status == nil || *l.Status.NumMessages != 0 || l.Delim != '.' {
		g.t.Errorf("%+v, %+v", l, l.Status)
	}
	rights, err := g.c.MyRights(g.special).Wait()
	g.must("my rights", err)
	if len(rights.Rights) < 11 {
		g.t.Errorf("the owner's rights: %s", rights.Rights)
	}
	_, err = g.c.GetQuotaRoot("INBOX").Wait()
	g.must("quota root", err)
	_, err = g.c.ID(&imap.IDData{Name: "test"}).Wait()
	g.must("id", err)
}

func (g *goIMAP) messages() {
	g.t.Helper()
	when := time.Date(2024, 5, 6, 7, 8, 9, 0, time.FixedZone("", 3600))
	for range 4 {
		w := g.c.Append(g.special, int64(len(g.letter)), &imap.AppendOptions{Flags: []imap.Flag{imap.FlagSeen, "$own"}, Time: when})
		_, err := w.Write(g.letter)
		g.must("append", err)
		g.must("append", w.Close())
		done, err := w.Wait()
		g.must("append", err)
		g.uid = done.UID
	}
	opened, err := g.c.Select(g.special, &imap.SelectOptions{CondStore: true}).Wait()
	g.must("select", err)
	if opened.NumMessages != 4 || opened.UIDNext != g.uid+1 || opened.HighestModSeq == 0 {
		g.t.Errorf("%+v", opened)
	}
	whole, bin := &imap.FetchItemBodySection{Peek: true}, &imap.FetchItemBinarySection{Part: []int{2}, Peek: true}
	got, err := g.c.Fetch(imap.SeqSetNum(1, 2, 3, 4), &imap.FetchOptions{BodyStructure: &imap.FetchItemBodyStructure{Extended: true}, Envelope: true, Flags: true,
		InternalDate: true, RFC822Size: true, UID: true, ModSeq: true, BodySection: []*imap.FetchItemBodySection{whole}, BinarySection: []*imap.FetchItemBinarySection{bin},
		BinarySectionSize: []*imap.FetchItemBinarySectionSize{{Part: []int{2}}}}).Collect()
	g.must("fetch", err)
	if len(got) != 4 {
		g.t.Fatalf("%d messages", len(got))
	}
	m := got[3]
	size, _ := m.FindBinarySectionSize([]int{2})
	if m.UID != g.uid || m.RFC822Size != int64(len(g.letter)) || !m.InternalDate.Equal(when) || m.ModSeq == 0 || m.Envelope.Subject != "grün" ||
		m.Envelope.From[0].Addr() != "ann@example.test" || !slices.Contains(m.Flags, "$own") || size != 4 ||
		!bytes.Equal(m.FindBodySection(whole), g.letter) || !bytes.Equal(m.FindBinarySection(bin), []byte{0, 1, 2, 3}) {
		g.t.Errorf("%+v, %+v", m, m.Envelope)
	}
	if b, ok := m.BodyStructure.(*imap.BodyStructureMultiPart); !ok || b.Subtype != "mixed" || b.Children[1].(*imap.BodyStructureSinglePart).Filename() != "a b.bin" {
		g.t.Errorf("%+v", m.BodyStructure)
	}
}

func (g *goIMAP) searches() {
	g.t.Helper()
	all := imap.SearchOptions{ReturnMin: true, ReturnMax: true, ReturnAll: true, ReturnCount: true}
	found, err := g.c.UIDSearch(&imap.SearchCriteria{Header: []imap.SearchCriteriaHeaderField{{Key: "Subject", Value: "grün"}}, Text: []string{"hello"}}, &all).Wait()
	g.must("search", err)
	if found.Count != 4 || imap.UID(found.Max) != g.uid || len(found.AllUIDs()) != 4 {
		g.t.Errorf("%+v", found)
	}
	order, err := g.c.UIDSort(&imapclient.SortOptions{SearchCriteria: &imap.SearchCriteria{}, SortCriteria: []imapclient.SortCriterion{{Key: imapclient.SortKeyArrival, Reverse: true}, {Key: imapclient.SortKeySubject}}}).Wait()
	g.must("sort", err)
	threads, err := g.c.UIDThread(&imapclient.ThreadOptions{Algorithm: imap.ThreadReferences, SearchCriteria: &imap.SearchCriteria{}}).Wait()
	g.must("thread", err)
	if len(order) != 4 || len(threads) == 0 {
		g.t.Errorf("sorted %v, threads %v", order, threads)
	}
}

func (g *goIMAP) changes() {
	g.t.Helper()
	one := imap.UIDSetNum(g.uid)
	stored, err := g.c.Store(one, &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagFlagged}}, nil).Collect()
	g.must("store", err)
	if len(stored) != 1 || !slices.Contains(stored[0].Flags, imap.FlagFlagged) {
		g.t.Errorf("stored %+v", stored)
	}
	copied, err := g.c.Copy(one, "INBOX").Wait()
	g.must("copy", err)
	moved, err := g.c.Move(imap.UIDSetNum(g.uid-1), "INBOX").Wait()
	g.must("move", err)
	if copied.SourceUIDs.String() != one.String() || moved.DestUIDs == nil {
		g.t.Errorf("copied %+v, moved %+v", copied, moved)
	}
	g.must("delete", g.c.Store(one, &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagDeleted}, Silent: true}, nil).Close())
	gone, err := g.c.UIDExpunge(one).Collect()
	g.must("expunge", err)
	if len(gone) != 1 {
		g.t.Errorf("expunged %v", gone)
	}
	g.must("rename", g.c.Rename(g.special, "Elsewhere", nil).Wait())
	g.must("unselect", g.c.Unselect().Wait())
	status, err := g.c.Status("Elsewhere", &imap.StatusOptions{NumMessages: true, UIDValidity: true}).Wait()
	g.must("status", err)
	if *status.NumMessages != 2 {
		g.t.Errorf("%d messages are left", *status.NumMessages)
	}
}

func (g *goIMAP) notes() {
	g.t.Helper()
	text := []byte("a note, grün")
	g.must("set metadata", g.c.SetMetadata("Elsewhere", map[string]*[]byte{"/private/comment": &text}).Wait())
	note, err := g.c.GetMetadata("Elsewhere", []string{"/private/comment"}, nil).Wait()
	g.must("get metadata", err)
	if v := note.Entries["/private/comment"]; v == nil || !bytes.Equal(*v, text) {
		g.t.Errorf("%+v", note)
	}
}

// idle waits for a message that another connection adds.
func (g *goIMAP) idle() {
	g.t.Helper()
	opened, err := g.c.Select("INBOX", nil).Wait()
	g.must("select", err)
	waiting, err := g.c.Idle()
	g.must("idle", err)
	for len(g.told) > 0 {
		<-g.told
	}
	other := g.connect(false, nil)
	w := other.Append("INBOX", int64(len(g.letter)), nil)
	_, err = w.Write(g.letter)
	g.must("append", err)
	g.must("append", w.Close())
	_, err = w.Wait()
	g.must("append", err)
	select {
	case n := <-g.told:
		if n != opened.NumMessages+1 {
			g.t.Errorf("told of %d messages", n)
		}
	case <-time.After(harness.Timeout):
		g.t.Error("the message was not told of")
	}
	g.must("idle", waiting.Close())
	g.must("idle", waiting.Wait())
}
