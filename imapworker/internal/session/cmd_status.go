package session

import (
	"slices"
	"strings"

	"rookery/imapworker/internal/view"
	"rookery/internal/imapname"
	"rookery/internal/mailstore"
)

// status = "STATUS" SP mailbox SP "(" status-att *(SP status-att) ")"   RFC 3501 §6.3.10
type status struct {
	mailbox imapname.Name
	items   statusItems
}

// statusItems are the items asked for, in the client's order.
type statusItems []string

// statusValues are the items there are: RFC 3501 §6.3.10, RFC 8438 (SIZE).
// RFC 7162 §3.1.7 (HIGHESTMODSEQ, 0 where there is none). DELETED and MAILBOXID
// will be rows here.
var statusValues = map[string]func(st *mailstore.Status) uint64{
	"MESSAGES":    func(st *mailstore.Status) uint64 { return uint64(st.Messages) },
	"RECENT":      func(st *mailstore.Status) uint64 { return uint64(st.Recent) },
	"UIDNEXT":     func(st *mailstore.Status) uint64 { return uint64(st.UIDNext) },
	"UIDVALIDITY": func(st *mailstore.Status) uint64 { return uint64(st.UIDValidity) },
	"UNSEEN":      func(st *mailstore.Status) uint64 { return uint64(st.Unseen) },
	"SIZE":        func(st *mailstore.Status) uint64 { return st.Size },

	highestModSeq: func(st *mailstore.Status) uint64 { return uint64(st.HighestModSeq) },
}

const highestModSeq = "HIGHESTMODSEQ"

// enables reports whether the items make a CONDSTORE enabling command of the one
// that they stand in (RFC 7162 §3.1).
func (items statusItems) enables() bool { return slices.Contains(items, highestModSeq) }

func parseStatus(p *parser) (request, bool) {
	var c status
	return &c, p.WantSP() && p.mailbox(&c.mailbox) && p.WantSP() && c.items.parse(p) && p.WantEnd()
}

// parse reads "(" status-att *(SP status-att) ")".
func (items *statusItems) parse(p *parser) bool {
	return p.WantList(func() bool {
		var name string
		if !p.WantWord(&name) {
			return false
		}
		name = strings.ToUpper(name)
		if statusValues[name] == nil {
			return p.Fail("a STATUS item")
		}
		if !slices.Contains(*items, name) {
			*items = append(*items, name)
		}
		return true
	})
}

func (c *status) run(s *Session) (view.Reply, error) {
	if c.items.enables() {
		s.enableCondstore()
	}
	if err := s.writeStatus(c.mailbox, c.items); err != nil {
		return view.Reply{}, err
	}
	return view.Done("Status completed."), nil
}

// writeStatus looks a mailbox up and writes its STATUS response.
func (s *Session) writeStatus(name imapname.Name, items statusItems) error {
	shown, ok := s.names.Show(name)
	if !ok {
		return nil
	}
	st, err := s.cfg.Store.Status(string(name), mailstore.StatusWant{Size: slices.Contains(items, "SIZE")})
	if err != nil {
		return err
	}
	s.enc.Untagged().Atom("STATUS").SP().Mailbox(shown).SP().Open()
	for i, item := range items {
		if i > 0 {
			s.enc.SP()
		}
		s.enc.Atom(item).SP().Num64(statusValues[item](&st))
	}
	s.enc.Close().CRLF()
	return nil
}

// job runs a command of another package (Jobs).
type job struct {
	view.Job
	tag string
	uid bool
}

func parseFetch(p *parser) (request, bool)  { return parseJob(p, p.s.cfg.Fetch) }
func parseSearch(p *parser) (request, bool) { return parseJob(p, p.s.cfg.Search) }
func parseSort(p *parser) (request, bool)   { return parseJob(p, p.s.cfg.Sort) }
func parseThread(p *parser) (request, bool) { return parseJob(p, p.s.cfg.Thread) }

func parseJob(p *parser, parse view.Parse) (request, bool) {
	j, ok := parse(p.Decoder, p.uid)
	return &job{j, p.tag, p.uid}, ok
}

func (c *job) run(s *Session) (view.Reply, error) {
	ctx := view.Context{View: s.view, Enc: &s.enc, Out: &s.out, Tag: c.tag, Now: s.now, UID: c.uid, Fetched: &s.counts.Fetched, Log: s.cfg.Log.Warn,
		Enable: s.enableCondstore}
	return c.Job.Run(&ctx)
}

var _ view.Output = (*stickyOutput)(nil)
