package session

import (
	"rookery/imapworker/internal/view"
	"rookery/internal/imapname"
	"rookery/internal/mailstore"
)

// quotaRoot is the one quota root that there is: a user's limits are of all his
// mail. Its name is Dovecot's, which scripts look for.
const quotaRoot = "User quota"

// getquota = "GETQUOTA" SP quota-root-name                RFC 9208 §7
type getQuota struct{ root string }

func parseGetQuota(p *parser) (request, bool) {
	var c getQuota
	return &c, p.WantSP() && p.WantAstring(&c.root) && p.WantEnd()
}

func (c *getQuota) run(s *Session) (view.Reply, error) {
	q, ok, err := s.cfg.Store.Quota()
	if err != nil {
		return view.Reply{}, err
	}
	if !ok || c.root != quotaRoot {
		return noQuotaRoot(), nil
	}
	s.writeQuota(q)
	return view.Done("Getquota completed."), nil
}

func noQuotaRoot() view.Reply { return view.No("NONEXISTENT", "There is no such quota root.") }

// getquotaroot = "GETQUOTAROOT" SP mailbox                RFC 9208 §7
type getQuotaRoot struct{ mailbox imapname.Name }

func parseGetQuotaRoot(p *parser) (request, bool) {
	var c getQuotaRoot
	return &c, p.WantSP() && p.mailbox(&c.mailbox) && p.WantEnd()
}

// A mailbox need not be there to have a root (RFC 9208 §4.1.2). One that the
// settings leave out of the quota has none, and so has each where there is no limit.
func (c *getQuotaRoot) run(s *Session) (view.Reply, error) {
	q, ok, err := s.cfg.Store.Quota()
	if err != nil {
		return view.Reply{}, err
	}
	name, shown := s.names.Show(c.mailbox)
	if !shown {
		return noSuchMailbox(), nil
	}
	ok = ok && mailstore.QuotaCovers(s.cfg.Store, string(c.mailbox))
	s.enc.Untagged().Atom("QUOTAROOT").SP().Mailbox(name)
	if ok {
		s.enc.SP().Astring(quotaRoot)
	}
	s.enc.CRLF()
	if ok {
		s.writeQuota(q)
	}
	return view.Done("Getquotaroot completed."), nil
}

func noSuchMailbox() view.Reply { return view.No("NONEXISTENT", "Mailbox does not exist.") }

// setquota = "SETQUOTA" SP quota-root-name SP "(" [setquota-resource *(SP setquota-resource)] ")"   RFC 9208 §7
//
//	setquota-resource = resource-name SP resource-limit
type setQuota struct{ root string }

func parseSetQuota(p *parser) (request, bool) {
	var c setQuota
	return &c, p.WantSP() && p.WantAstring(&c.root) && p.WantSP() && p.WantEmptyList(func() bool {
		var name string
		var limit uint64
		return p.WantAtom(&name) && p.WantSP() && p.WantNumber64(&limit)
	}) && p.WantEnd()
}

// The limits are the administrator's, in the settings or the user database: nobody
// changes them over IMAP (RFC 9208 §4.1.3: "NO - setquota error: can't set that
// data").
func (c *setQuota) run(s *Session) (view.Reply, error) {
	_, ok, err := s.cfg.Store.Quota()
	switch {
	case err != nil:
		return view.Reply{}, err
	case !ok || c.root != quotaRoot:
		return noQuotaRoot(), nil
	}
	return view.No("NOPERM", "The administrator sets the limits of the quota."), nil
}

// writeQuota writes
//
//	quota-response = "QUOTA" SP quota-root-name SP "(" quota-resource *(SP quota-resource) ")"
//	quota-resource = resource-name SP resource-usage SP resource-limit
//
// with the resources that are limited (RFC 9208 §4.2.1: "Resources not named in
// the list are not limited").
func (s *Session) writeQuota(q mailstore.Quota) {
	s.enc.Untagged().Atom("QUOTA").SP().Astring(quotaRoot).SP().Open()
	first := true
	for _, r := range [...]struct {
		name        string
		used, limit uint64
	}{
		{"STORAGE", kibi(q.StorageUsed), kibi(q.StorageLimit)},
		{"MESSAGE", q.MessagesUsed, q.MessagesLimit},
		{"MAILBOX", q.MailboxesUsed, q.MailboxesLimit},
	} {
		if r.limit == 0 {
			continue
		}
		if !first {
			s.enc.SP()
		}
		first = false
		const most = 1<<63 - 1 // RFC 9208 §3.1.2: 63-bit
		s.enc.Atom(r.name).SP().Num64(min(r.used, most)).SP().Num64(min(r.limit, most))
	}
	s.enc.Close().CRLF()
}

// kibi turns octets into the units of 1024 of RFC 9208 §5.1. Both use and limit are
// rounded up: a user within his limit is not shown beyond it, and a limit is never
// shown as 0, which would prohibit any use (§3.1.2).
func kibi(octets uint64) uint64 { return octets/1024 + min(octets%1024, 1) }

// deletedStorage sums up the sizes of messages with \Deleted (RFC 9208 §4.1.4), in
// octets: what EXPUNGE frees is "the sum of the RFC822.SIZE of the messages".
func (s *Session) deletedStorage(name imapname.Name, st *mailstore.Status) (sum uint64, err error) {
	if st.Deleted == 0 {
		return 0, nil
	}
	box, snap, err := mailstore.Look(s.cfg.Store, string(name))
	if err != nil {
		return 0, err
	}
	defer box.Close()
	var some [256]mailstore.Entry
	for at := 0; at < snap.Len(); {
		n := mailstore.Entries(snap, at, some[:])
		if n == 0 {
			break
		}
		at += n
		for _, e := range some[:n] {
			if e.Flags&mailstore.Deleted == 0 {
				continue
			}
			f, err := box.Facts(e.UID, mailstore.FactsWant{Size: true})
			if err == nil {
				sum += uint64(f.Size)
			} // else it was expunged meanwhile, or cannot be read: an estimate all the same
		}
	}
	return sum, nil
}
