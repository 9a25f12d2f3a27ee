package query

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"rookery/internal/mailstore"
	"rookery/internal/mailstore/memstore"
)

var now = time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)

// box has five messages whose properties the queries below ask for.
func box(t *testing.T) mailstore.Mailbox {
	t.Helper()
	s := memstore.New(memstore.Options{Now: func() time.Time { return now }})
	for i, m := range []struct {
		text string
		meta mailstore.AppendMeta
	}{
		{"From: Ann <ann@x>\r\nSubject: =?UTF-8?Q?Gr=C3=BC=C3=9Fe?=\r\nDate: Sun, 01 Mar 2026 23:30:00 -0500\r\n\r\nhello\r\n", mailstore.AppendMeta{Flags: mailstore.Seen}},
		{"From: bob@x\r\nTo: ann@x\r\nX-Tag: blue\r\n\r\nworld\r\n", mailstore.AppendMeta{Flags: mailstore.Seen | mailstore.Flagged, Keywords: []string{"$Work"}}},
		{"Subject: big\r\n\r\n" + strings.Repeat("0123456789\r\n", 200), mailstore.AppendMeta{Flags: mailstore.Deleted}},
		{"Cc: c@x\r\nBcc: d@x\r\n\r\nAnn\r\n", mailstore.AppendMeta{Flags: mailstore.Answered | mailstore.Draft}},
		{"Subject: last\r\n\r\nx\r\n", mailstore.AppendMeta{GUID: mailstore.GUID{0xAB}}},
	} {
		m.meta.InternalDate = now.AddDate(0, 0, -i)
		m.meta.SaveDate = now.AddDate(0, 0, -2*i)
		a, err := s.Append("INBOX")
		if err != nil {
			t.Fatal(err)
		}
		w, err := a.Add(m.meta, int64(len(m.text)))
		if err == nil {
			_, err = io.WriteString(w, m.text)
		}
		if err == nil {
			_, err = a.Commit()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	b, err := s.Open("INBOX")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func hits(t *testing.T, b mailstore.Mailbox, words string) string {
	t.Helper()
	q, err := Parse(strings.Fields(words), now)
	if err != nil {
		t.Fatalf("%s: %v", words, err)
	}
	var out []mailstore.UID
	err = q.Run(b, b.Snapshot(), func(int) error { return nil }, func(uid mailstore.UID, err error) { t.Errorf("%s: %d: %v", words, uid, err) },
		func(m *Mail) error { out = append(out, m.Entry.UID); return nil })
	if err != nil {
		t.Fatal(err)
	}
	return strings.Trim(fmt.Sprint(out), "[]")
}

func TestKeys(t *testing.T) {
	b := box(t)
	for words, want := range map[string]string{
		"": "1 2 3 4 5", "all": "1 2 3 4 5", "seen": "1 2", "unseen": "3 4 5", "SEEN flagged": "2", "or seen deleted": "1 2 3", "not seen": "3 4 5",
		"not ( seen or flagged draft )": "1 3 4 5", "answered": "4", "unanswered undraft undeleted unflagged": "1 5", "keyword $work": "2", "unkeyword $WORK": "1 3 4 5",
		"uid 2:3,5": "2 3 5", "uid *": "5", "2:3": "2 3", "*": "5", "from ann": "1", "to ann": "2", "cc c@x": "4", "bcc D@X": "4", "subject grüße": "1", "subject GRÜß": "1",
		"header x-tag BLUE": "2", "header x-tag red": "", "body hello": "1", "body ann": "4", "text ann": "1 2 4", "larger 1k": "3", "larger 2M": "", "smaller 1k": "1 2 4 5",
		"on 2026-03-08": "3", "on 8-Mar-2026": "3", "before 2026-03-08": "4 5", "since 2026-03-08": "1 2 3", "since 3d": "1 2 3 4", "before 3d": "4 5", "since today": "1", "on yesterday": "2",
		"older 3d": "4 5", "younger 1d": "1 2", "savedbefore 2026-03-05": "4 5", "savedsince 2026-03-08": "1 2", "savedon 2026-03-06": "3",
		"senton 2026-03-01": "1", "sentbefore 2026-03-02": "1", "sentsince 2026-03-02": "", "guid ab000000000000000000000000000000": "5", "not ( seen ) ( deleted )": "3",
	} {
		if got := hits(t, b, words); got != want {
			t.Errorf("%s: %q, want %q", words, got, want)
		}
	}
}

func TestBad(t *testing.T) {
	for words, text := range map[string]string{
		"nonsense": `"nonsense" is no key; there are: all,`, "(": "a ( without", ")": "a ) without", "( )": "nothing between", "not": "needs 1 keys", "or seen": "needs 2 keys", "from": "needs a text",
		"header x": "needs a text", "uid x": "are no numbers", "uid": "needs UIDs", "0": "are no numbers", "larger x": "is no size", "larger 99999999999999T": "too large", "older x": "is no length", "older 999999999y": "more than 100 years",
		"since 2026-13-01": "is no date", "on 3d": "is no date", "keyword": "needs a keyword", strings.Repeat("not ", 100) + "seen": "nested deeper", strings.Repeat("seen ", 5000): "more than 4096",
	} {
		if _, err := Parse(strings.Fields(words), now); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%.40s: %v, want %q", words, err, text)
		}
	}
}

func TestAgo(t *testing.T) {
	for text, want := range map[string]time.Duration{"90": 90 * time.Second, "5m": 5 * time.Minute, "2 h": 0, "3D": 72 * time.Hour, "1w": 168 * time.Hour, "2mo": 1440 * time.Hour, "1y": 8760 * time.Hour, "2hours": 2 * time.Hour} {
		if got, err := ParseAgo(text); got != want || (err == nil) != (want > 0) {
			t.Errorf("%s: %v %v", text, got, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("or ( from a ) not uid 1:* since 3d")
	f.Add("larger 5k header x y")
	f.Fuzz(func(t *testing.T, s string) {
		q, err := Parse(strings.Split(s, " "), now)
		if err == nil && q.root == nil {
			t.Error("a query without a root")
		}
	})
}
