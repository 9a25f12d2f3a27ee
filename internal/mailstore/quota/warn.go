package quota

import (
	"encoding/base64"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"rookery/internal/imapname"
	"rookery/internal/mailstore"
	"rookery/internal/numset"
)

// Warning is a message that the user gets once his use reaches so many per cent
// of a limit, and again after it has fallen below; or, with Under, once it falls
// below after it was there. Subject and Text are given percent, used, limit and
// user; nil is a text of this package's own.
type Warning struct {
	Messages bool   // of the limit of messages; else of octets
	Under    bool   // when use falls below
	Percent  uint8  // 1 to 100
	From     string // header field body, ASCII
	Subject  func(vars map[string]string) string
	Text     func(vars map[string]string) string // lines end in LF
}

// due is a warning that is to be sent.
type due struct {
	w    Warning
	use  Use
	caps Limits
}

// warn notes which thresholds the count is above; one that is newly reached, or
// newly left, is sent after the lock is given up. Of several only one is: who is at
// 96 per cent need not read that he is above 80, and who fell from there to 10 need
// not read that he is below 95.
func (s *Store) warn(h *header) {
	for kind := range 2 {
		used, limit := h.counted.Octets, s.opt.Limits.Octets
		if kind == 1 {
			used, limit = h.counted.Messages, s.opt.Limits.Messages
		}
		var over, left Warning
		above := uint8(0)
		for _, w := range s.opt.Warnings {
			if w.Messages != (kind == 1) || limit == 0 {
				continue
			}
			there := reached(used, limit, w.Percent)
			switch {
			case !w.Under && there && w.Percent > over.Percent:
				over = w
			case w.Under && there:
				above = max(above, w.Percent)
			case w.Under && w.Percent <= h.above[kind] && (left.Percent == 0 || w.Percent < left.Percent):
				left = w
			}
		}
		if over.Percent > h.warned[kind] {
			s.owe(over, h)
		}
		if left.Percent > 0 {
			s.owe(left, h)
		}
		h.warned[kind], h.above[kind] = over.Percent, above
	}
}

// owe keeps a warning until the lock is given up.
func (s *Store) owe(w Warning, h *header) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.due = append(s.due, due{w, h.counted, s.opt.Limits})
}

func reached(used, limit uint64, percent uint8) bool {
	return used >= limit/100*uint64(percent)+limit%100*uint64(percent)/100 && used > 0
}

// sendDue puts the warnings that are due into INBOX, whatever the quota.
func (s *Store) sendDue() {
	s.mu.Lock()
	list := s.due
	s.due = nil
	s.mu.Unlock()
	for _, d := range list {
		if err := s.send(d); err != nil {
			s.opt.Note("a warning of quota could not be put into INBOX: " + err.Error())
		}
	}
}

func (s *Store) send(d due) error {
	body := compose(d, s.opt.User, s.opt.FS.Now())
	a, err := s.Store.Append(imapname.Inbox)
	if err != nil {
		return err
	}
	defer a.Abort()
	w, err := a.Add(mailstore.AppendMeta{}, int64(len(body)))
	if err != nil {
		return err
	}
	if _, err := io.WriteString(w, body); err != nil {
		return err
	}
	o := s.removal(ref{name: imapname.Inbox}) // nothing is reserved: it is not refused
	res, err := a.Commit()
	c := change{doubt: err != nil}
	if err == nil {
		c.add, c.next, c.validity = Use{uint64(len(body)), 1}, numset.FromSorted(res.UIDs).Max()+1, res.UIDValidity
	}
	s.end(o, c)
	return err
}

// compose writes a warning as a message (RFC 5322), with RFC 2047 in its subject
// and RFC 2045's 8bit in its text where they need it.
func compose(d due, user string, now time.Time) string {
	used, limit := octetText(d.use.Octets), octetText(d.caps.Octets)
	percent := share(d.use.Octets, d.caps.Octets)
	if d.w.Messages {
		used, limit = fmt.Sprint(d.use.Messages), fmt.Sprint(d.caps.Messages)
		percent = share(d.use.Messages, d.caps.Messages)
	}
	vars := map[string]string{"percent": fmt.Sprint(percent), "used": used, "limit": limit, "user": user}
	subject, text := ownSubject(vars), ownText(vars, d.w)
	if d.w.Subject != nil {
		subject = d.w.Subject(vars)
	}
	if d.w.Text != nil {
		text = d.w.Text(vars)
	}
	text = strings.ReplaceAll(strings.ReplaceAll(strings.TrimRight(text, "\n"), "\r", ""), "\n", "\r\n")
	encoding := "7bit"
	if !ascii(text) {
		encoding = "8bit"
	}
	return "From: " + d.w.From + "\r\nTo: " + addressee(user) + "\r\nSubject: " + encodeWords(subject) +
		"\r\nDate: " + now.Format("Mon, 02 Jan 2006 15:04:05 -0700") +
		"\r\nAuto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: " + encoding +
		"\r\n\r\n" + text + "\r\n"
}

func ownSubject(vars map[string]string) string {
	return "Your mailbox is " + vars["percent"] + " % full"
}

func ownText(vars map[string]string, w Warning) string {
	what := vars["used"] + " of the " + vars["limit"]
	if w.Messages {
		what += " messages"
	}
	what = "You use " + what + " that you may keep here (" + vars["percent"] + " %).\n"
	if w.Under {
		return what + "That is less than " + fmt.Sprint(w.Percent) + " % again: there is room for new mail.\n"
	}
	return what +
		"When no more is left, new mail for you may be refused.\n\n" +
		"To make room, delete mail that you no longer need, large messages first,\n" +
		"and empty the Trash.\n"
}

// addressee is the user's name if that can stand in a To: field as it is.
func addressee(user string) string {
	for i := range len(user) {
		if c := user[i]; c <= ' ' || c >= 0x7F || strings.IndexByte(`()<>[]:;,"\`, c) >= 0 {
			return "undisclosed-recipients:;"
		}
	}
	if user == "" {
		return "undisclosed-recipients:;"
	}
	return user
}

func share(used, limit uint64) uint64 {
	if limit == 0 {
		return 0
	}
	return uint64(float64(used) / float64(limit) * 100)
}

func octetText(n uint64) string {
	switch {
	case n >= 10<<30:
		return fmt.Sprintf("%d GB", n>>30)
	case n >= 10<<20:
		return fmt.Sprintf("%d MB", n>>20)
	}
	return fmt.Sprintf("%d kB", (n+1023)>>10)
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// encodeWords writes header text; what is not ASCII as encoded words of at most
// 75 octets (RFC 2047 §2), cut between characters. Line ends become spaces.
func encodeWords(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7F {
			return ' '
		}
		return r
	}, s)
	if ascii(s) {
		return s
	}
	var out []string
	for s != "" {
		n := 0
		for n < len(s) {
			_, size := utf8.DecodeRuneInString(s[n:])
			if n+size > 45 {
				break
			}
			n += size
		}
		out = append(out, "=?utf-8?b?"+base64.StdEncoding.EncodeToString([]byte(s[:n]))+"?=")
		s = s[n:]
	}
	return strings.Join(out, "\r\n ")
}
