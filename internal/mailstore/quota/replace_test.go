package quota_test

import (
	"io"
	"strings"
	"testing"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/quota"
	"rookery/internal/numset"
)

// Of a message that stands in for another only the difference counts (RFC 8508
// §3.4), whether its size was announced or not.
func TestReplaces(t *testing.T) {
	s := memory(quota.Options{Limits: quota.Limits{Octets: 1000, Messages: 2}, Rule: func(n mailstore.Name) quota.Rule {
		if n == "Ignored" {
			return quota.Rule{Class: quota.Ignored}
		}
		return quota.Rule{}
	}})
	_, err := s.Create("Ignored", 0)
	must(t, err)
	_, err = add(s, "INBOX", 600)
	must(t, err)
	_, err = add(s, "INBOX", 400)
	must(t, err)
	try := func(announced int64, octets int, from mailstore.Name, goes int64) error {
		a, err := s.Append("INBOX")
		must(t, err)
		defer a.Abort()
		if from != "" {
			mailstore.Replaces(a, from, goes)
		}
		w, err := a.Add(mailstore.AppendMeta{}, announced)
		if err != nil {
			return err
		}
		if _, err := io.WriteString(w, strings.Repeat("x", octets)); err != nil {
			return err
		}
		_, err = a.Commit()
		return err
	}
	refused(t, errkind.OverQuota, try(400, 400, "", 0))
	refused(t, errkind.OverQuota, try(401, 401, "INBOX", 400))
	refused(t, errkind.OverQuota, try(-1, 401, "INBOX", 400))
	refused(t, errkind.OverQuota, try(300, 300, "Ignored", 400)) // nothing that counts goes
	must(t, try(300, 300, "INBOX", 400))
	mb, err := s.Open("INBOX")
	must(t, err)
	defer mb.Close()
	_, err = mb.Expunge(numset.Of(2))
	must(t, err)
	same(t, s)
	must(t, try(-1, 700, "INBOX", 600))
	_, err = mb.Expunge(numset.Of(1))
	must(t, err)
	if u := counted(t, s); u != (quota.Use{Octets: 1000, Messages: 2}) {
		t.Errorf("%+v", u)
	}
	same(t, s)
}

// A message of unknown size is refused soon after it is beyond the limit, not only
// when all of it is there.
func TestGrowth(t *testing.T) {
	s := memory(quota.Options{Limits: quota.Limits{Octets: 3 << 20, Messages: 1}})
	a, err := s.Append("INBOX")
	must(t, err)
	w, err := a.Add(mailstore.AppendMeta{}, -1)
	must(t, err)
	piece := make([]byte, 64<<10)
	n := 0
	for ; err == nil && n < 100<<20; n += len(piece) {
		_, err = w.Write(piece)
	}
	refused(t, errkind.OverQuota, err)
	if n > 5<<20 {
		t.Errorf("refused after %d octets", n)
	}
	a.Abort()
	// What was announced of it is given back, and one that fits is taken.
	a, err = s.Append("INBOX")
	must(t, err)
	w, err = a.Add(mailstore.AppendMeta{}, -1)
	must(t, err)
	for range 48 {
		_, err = w.Write(piece)
		must(t, err)
	}
	_, err = a.Commit()
	must(t, err)
	same(t, s)
}
