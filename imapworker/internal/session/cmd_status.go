package session

import (
	"slices"
	"strconv"
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

// statusNumbers are the items that are a number of the mailbox: RFC 3501 §6.3.10,
// RFC 8438 (SIZE), RFC 9208 §4.1.4 (DELETED), RFC 7162 §3.1.7 (HIGHESTMODSEQ, 0
// where there is none).
var statusNumbers = map[string]func(st *mailstore.Status) uint64{
	"MESSAGES":    func(st *mailstore.Status) uint64 { return uint64(st.Messages) },
	"RECENT":      func(st *mailstore.Status) uint64 { return uint64(st.Recent) },
	"UIDNEXT":     func(st *mailstore.Status) uint64 { return uint64(st.UIDNext) },
	"UIDVALIDITY": func(st *mailstore.Status) uint64 { return uint64(st.UIDValidity) },
	"UNSEEN":      func(st *mailstore.Status) uint64 { return uint64(st.Unseen) },
	"SIZE":        func(st *mailstore.Status) uint64 { return st.Size },
	"DELETED":     func(st *mailstore.Status) uint64 { return uint64(st.Deleted) },

	highestModSeq: func(st *mailstore.Status) uint64 { return uint64(st.HighestModSeq) },
}

// The items that are none: RFC 9208 §4.1.4, RFC 7889 §3.1, RFC 8474 §4.3.
const (
	deletedStorage = "DELETED-STORAGE"
	appendLimit    = "APPENDLIMIT"
	mailboxIDItem  = "MAILBOXID"
)

func isStatusItem(name string) bool {
	return statusNumbers[name] != nil || name == deletedStorage || name == appendLimit || name == mailboxIDItem
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
		if !isStatusItem(name) || name == "RECENT" && p.Options.Rev2 { // RFC 9051 Appendix E, 12
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
	st, freed, err := s.lookStatus(name, items)
	if shown, ok := s.names.Show(name); err == nil && ok {
		s.writeItems(shown, items, &st, freed)
	}
	return err
}

// lookStatus asks for what writeItems writes.
func (s *Session) lookStatus(name imapname.Name, items statusItems) (st mailstore.Status, freed uint64, err error) {
	st, err = s.cfg.Store.Status(string(name), mailstore.StatusWant{Size: slices.Contains(items, "SIZE")})
	if err == nil && slices.Contains(items, deletedStorage) {
		freed, err = s.deletedStorage(name, &st)
	}
	return st, freed, err
}

// writeItems writes the STATUS response of a mailbox; freed is its DELETED-STORAGE.
func (s *Session) writeItems(shown string, items statusItems, st *mailstore.Status, freed uint64) {
	s.enc.Untagged().Atom("STATUS").SP().Mailbox(shown).SP().Open()
	for i, item := range items {
		if i > 0 {
			s.enc.SP()
		}
		s.enc.Atom(item).SP()
		switch item {
		case deletedStorage:
			s.enc.Num64(freed)
		case mailboxIDItem:
			s.enc.Open().Atom(mailboxID(st.GUID)).Close()
		case appendLimit:
			s.writeAppendLimit()
		default:
			s.enc.Num64(statusNumbers[item](st))
		}
	}
	s.enc.Close().CRLF()
}

// maxAppendLimit is the largest number of RFC 7889 §5; with a larger limit there is
// none, as far as this client can tell.
const maxAppendLimit = 1<<32 - 1

// hasAppendLimit reports whether there is a limit that can be told. It is the same
// for all mailboxes, and "should not take … quotas … into account" (RFC 7889 §3.3).
func (s *Session) hasAppendLimit() bool {
	limit := s.cfg.Settings.MaxMessage
	return limit > 0 && limit <= maxAppendLimit
}

func (s *Session) writeAppendLimit() {
	if s.hasAppendLimit() {
		s.enc.Num64(uint64(s.cfg.Settings.MaxMessage))
	} else {
		s.enc.Nil()
	}
}

// appendLimitWord is the capability (RFC 7889 §2): with the limit for all mailboxes,
// or alone where a client learns from STATUS that there is none.
func (s *Session) appendLimitWord() string {
	if s.hasAppendLimit() {
		return appendLimit + "=" + strconv.FormatInt(s.cfg.Settings.MaxMessage, 10)
	}
	return appendLimit
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

// numbered reports whether the command names messages by sequence numbers
// although it came with the UID prefix.
func (c *job) numbered() bool {
	n, ok := c.Job.(view.Numbered)
	return ok && n.Numbered()
}

func (c *job) run(s *Session) (view.Reply, error) {
	ctx := s.context(c.tag, c.uid)
	if c.tag != "" { // else it is no command of the client's
		ctx.Limit = uint64(s.cfg.Settings.MessageLimit)
	}
	reply, err := c.Job.Run(ctx)
	if ctx.Lowest > 0 {
		s.lowest = ctx.Lowest
	}
	return reply, err
}

var _ view.Output = (*stickyOutput)(nil)
