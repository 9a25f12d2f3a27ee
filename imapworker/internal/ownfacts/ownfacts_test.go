package ownfacts

import (
	"testing"

	"rookery/imapworker/internal/opened"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/memstore"
	"rookery/internal/mailstore/remote/usable"
	"rookery/internal/message"
)

const mail = "From: a@example.test\r\nSubject: x\r\nMessage-ID: <1@x>\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n"

// What is made is what the owner's own commands would keep, a guest can use it, and it is
// kept.
func TestMake(t *testing.T) {
	store := memstore.New(memstore.Options{})
	a, err := store.Append("INBOX")
	if err != nil {
		t.Fatal(err)
	}
	w, err := a.Add(mailstore.AppendMeta{}, -1)
	if err != nil {
		t.Fatal(err)
	}
	w.Write([]byte(mail))
	if _, err := a.Commit(); err != nil {
		t.Fatal(err)
	}
	m, err := Open(store, "INBOX", message.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	box, _ := store.Open("INBOX")
	i := box.Info()
	if !m.Is(i.GUID, i.UIDValidity) || m.Is(i.GUID, i.UIDValidity+1) || m.Is(mailstore.GUID{1}, i.UIDValidity) {
		t.Error("it does not know which mailbox it is of")
	}
	var p message.Parser
	tree := p.ParseBytes([]byte(mail), message.DefaultLimits())
	for field, want := range map[string]string{
		"imap.envelope":            string(message.AppendEnvelope(nil, tree.Envelope, message.DefaultLimits())),
		"imap.body":                string(message.AppendBody(nil, tree, message.DefaultLimits())),
		"imap.bodystructure":       string(message.AppendBodyStructure(nil, tree, message.DefaultLimits())),
		opened.TreeField:           string(message.AppendTree(nil, tree)),
		"imap.header from subject": "From: a@example.test\r\nSubject: x\r\n\r\n",
		"object.thread":            "",
	} {
		got, ok := m.Make(1, field)
		if !ok || want != "" && string(got) != want || !usable.Fact(field, got) {
			t.Errorf("%s is %q %v, want %q", field, got, ok, want)
		}
		if kept, ok := box.Cached(1, field); !ok || string(kept) != string(got) {
			t.Errorf("%s is not kept: %q", field, kept)
		}
		box.PutCached(1, field, []byte("kept"))
		if again, _ := m.Make(1, field); string(again) != "kept" {
			t.Errorf("%s is made again: %q", field, again)
		}
		if _, ok := m.Make(2, field); ok {
			t.Errorf("%s was made of nothing", field)
		}
	}
	for _, field := range []string{"", "imap.header ", "imap.header subject from", "imap.header a:b", "binary.sizes", "anything"} {
		if v, ok := m.Make(1, field); ok {
			t.Errorf("%q was made: %q", field, v)
		}
	}
}
