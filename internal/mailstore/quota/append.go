package quota

import (
	"bytes"
	"io"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
)

// Append begins to add messages. Whether there is room is asked when each is
// announced, before its bytes come, and once more when all are to become
// visible, since other processes may have filled it meanwhile.
func (s *Store) Append(name mailstore.Name) (mailstore.Appender, error) {
	a, err := s.Store.Append(name)
	if err != nil || !s.counts() && s.opt.Limits.MailSize == 0 {
		return a, err
	}
	out := &appender{Appender: a, s: s, to: ref{name: name}, rule: s.opt.Rule(name)}
	if s.counts() {
		out.to.guid, err = s.identify(name)
	}
	if err != nil {
		a.Abort()
		return nil, err
	}
	return out, nil
}

// identify gives a mailbox's GUID, by which it is known until it is deleted,
// whatever its name becomes meanwhile.
func (s *Store) identify(name mailstore.Name) (guid mailstore.GUID, err error) {
	for try := 0; ; try++ {
		if err := s.prepared(); err != nil {
			return guid, err
		}
		err = s.l.with(func(t *txn) error {
			i, ok := t.find(ref{name: name})
			if !ok {
				return errUnknown
			}
			r, err := t.record(i)
			guid = r.guid
			return err
		})
		switch {
		case try < 3 && err == errUnknown:
			err = s.adopt([]ref{{name: name}})
		case try < lostTries && err == errLost:
			err = s.look(false)
		case err == errUnknown:
			return guid, errkind.Newf("append", errkind.NotFound, "the mailbox was deleted")
		default:
			return guid, kinded(err)
		}
		if err != nil {
			return guid, err
		}
	}
}

type appender struct {
	mailstore.Appender
	s       *Store
	to      ref
	rule    Rule
	list    []*counter
	pending Use // of this appender, in s.pending
	credit  Use // what goes once this is there
}

// Replaces is for mailstore.Replacer.
func (a *appender) Replaces(from mailstore.Name, octets int64) {
	if a.rule.Class == Counted && a.s.opt.Rule(from).Class == Counted && octets > 0 {
		a.credit = Use{uint64(octets), 1}
	}
}

// StopBy is for mailstore.CommitStopper.
func (a *appender) StopBy(goOn func() error) { mailstore.StopBy(a.Appender, goOn) }

// Add begins a message if there is room for the announced size.
func (a *appender) Add(meta mailstore.AppendMeta, size int64) (io.Writer, error) {
	if limit := a.s.opt.Limits.MailSize; limit > 0 && size > 0 && uint64(size) > limit {
		return nil, errkind.Newf("append", errkind.TooBig, "the message is larger than quota_mail_size")
	}
	if err := a.announce(Use{uint64(max(size, 0)), 1}); err != nil {
		return nil, err
	}
	w, err := a.Appender.Add(meta, size)
	if err != nil {
		return nil, err
	}
	c := &counter{to: w, limit: a.s.opt.Limits.MailSize}
	if size < 0 {
		c.of = a
	}
	a.list = append(a.list, c)
	return c, nil
}

// announce refuses what would not fit beside all that is announced or under way.
func (a *appender) announce(add Use) error {
	s := a.s
	if !s.counts() {
		return nil
	}
	if a.rule.Class == Counted {
		s.mu.Lock()
		pending := s.pending
		s.mu.Unlock()
		if err := s.peek(a.room(add, pending)); err != nil {
			return err
		}
	}
	a.pending.add(add)
	s.mu.Lock()
	s.pending.add(add)
	s.mu.Unlock()
	return nil
}

// room makes the check of what this appender adds, beside what is pending: against
// the limits less what goes for it.
func (a *appender) room(add, pending Use) func(*header) error {
	if add.Messages == 0 && add.Octets > 0 { // a message that was announced grows
		add.Messages = 1
		pending.sub(Use{Messages: 1})
	}
	check := a.s.room(a.rule, add, pending)
	if check == nil || a.credit == (Use{}) {
		return check
	}
	return func(h *header) error {
		less := *h
		less.counted.sub(a.credit)
		return check(&less)
	}
}

// peek makes a check without noting anything.
func (s *Store) peek(check func(*header) error) error {
	for try := 0; ; try++ {
		if err := s.prepared(); err != nil {
			return err
		}
		err := s.l.with(func(t *txn) error { return check(&t.h) })
		if err == nil || try >= 3 && err != errLost || try == lostTries {
			return kinded(err)
		}
		if err != errLost && !(errkind.Is(err, errkind.OverQuota) && !s.lookedWithin(stale)) {
			return kinded(err)
		}
		if err := s.look(false); err != nil {
			return err
		}
	}
}

func (a *appender) forget() {
	a.s.mu.Lock()
	a.s.pending.sub(a.pending)
	a.s.mu.Unlock()
	a.pending = Use{}
}

// Abort leaves no trace.
func (a *appender) Abort() {
	a.forget()
	a.Appender.Abort()
}

// Commit makes the messages visible if they fit now, with their true sizes.
func (a *appender) Commit() (mailstore.AppendResult, error) {
	a.forget()
	if !a.s.counts() || len(a.list) == 0 {
		return a.Appender.Commit()
	}
	var add Use
	for _, c := range a.list {
		add.add(Use{c.size, 1})
	}
	reserved := add
	if a.rule.Class != Counted {
		reserved = Use{}
	}
	o, err := a.s.begin([]ref{a.to}, reserved, a.room(reserved, Use{}))
	if err == errUnknown {
		err = errkind.Newf("append", errkind.NotFound, "the mailbox was deleted")
	}
	if err != nil {
		a.Appender.Abort()
		return mailstore.AppendResult{}, err
	}
	res, err := a.Appender.Commit()
	c := change{doubt: err != nil && !benign(err)}
	if err == nil && len(res.UIDs) > 0 {
		c.add, c.next, c.validity = add, res.UIDs[len(res.UIDs)-1]+1, res.UIDValidity
		if a.s.opt.Rewrites {
			c.add, c.doubt = a.s.kept(a.to.name, res.UIDs)
		}
	}
	a.s.end(o, c)
	return res, err
}

// kept asks for the sizes of new messages, where the driver changes them.
func (s *Store) kept(name mailstore.Name, uids []mailstore.UID) (u Use, doubt bool) {
	mb, err := s.Store.Open(name)
	if err != nil {
		return u, true
	}
	defer mb.Close()
	for _, uid := range uids {
		f, err := mb.Facts(uid, mailstore.FactsWant{Size: true})
		if err != nil {
			return u, true
		}
		u.add(Use{uint64(f.Size), 1})
	}
	return u, false
}

// counter counts a message's octets in CRLF form.
type counter struct {
	to    io.Writer
	size  uint64
	limit uint64 // of the size; 0 is none
	cr    bool   // the last octet was CR

	of        *appender // where no size was announced, else nil
	announced uint64    // since then
}

// step is how many octets of a message of unknown size come before they are
// announced: no more than that is written beyond a limit.
const step = 1 << 20

func (c *counter) Write(p []byte) (int, error) {
	c.size += uint64(len(p))
	for rest := p; len(rest) > 0; {
		i := bytes.IndexByte(rest, '\n')
		if i < 0 {
			c.cr = rest[len(rest)-1] == '\r'
			break
		}
		if !(i > 0 && rest[i-1] == '\r' || i == 0 && c.cr) {
			c.size++
		}
		rest, c.cr = rest[i+1:], false
	}
	if c.limit > 0 && c.size > c.limit {
		return 0, errkind.Newf("append", errkind.TooBig, "the message is larger than quota_mail_size")
	}
	if c.of != nil && c.size-c.announced > step {
		if err := c.of.announce(Use{Octets: c.size - c.announced}); err != nil {
			return 0, err
		}
		c.announced = c.size
	}
	return c.to.Write(p)
}
