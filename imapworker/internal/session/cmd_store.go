package session

import (
	"errors"
	"strings"

	"rookery/imapworker/internal/view"
	"rookery/internal/imapwire"
	"rookery/internal/mailstore"
	"rookery/internal/numset"
)

// store           = "STORE" SP sequence-set SP store-att-flags       RFC 3501 §6.4.6
// store-att-flags = (["+" / "-"] "FLAGS" [".SILENT"]) SP (flag-list / (flag *(SP flag)))
//
// CONDSTORE will put "(" UNCHANGEDSINCE … ")" SP before store-att-flags.
type store struct {
	set    numset.Expr
	change mailstore.FlagChange
	silent bool
	uid    bool
}

func parseStore(p *parser) (request, bool) {
	c := &store{uid: p.uid}
	var item string
	if !p.WantSP() || !p.WantSet(&c.set) || !p.WantSP() {
		return nil, false
	}
	switch {
	case p.Byte('+'):
		c.change.Op = mailstore.AddFlags
	case p.Byte('-'):
		c.change.Op = mailstore.RemoveFlags
	}
	var names []string
	if !p.WantWord(&item) {
		return nil, false
	}
	switch strings.ToUpper(item) {
	case "FLAGS":
	case "FLAGS.SILENT":
		c.silent = true
	default:
		return nil, p.Fail("FLAGS or FLAGS.SILENT")
	}
	return c, p.WantSP() && p.WantFlags(&names) && p.s.parseFlags(p.Decoder, names, &c.change.Flags, &c.change.Keywords, &p.nameErr) && p.WantEnd()
}

var errLongKeyword = errors.New("keyword name is too long")

// parseFlags tells system flags and keywords apart. \Recent cannot be changed
// by a client (RFC 3501 §2.3.2), and no flag that begins with "\" but the five
// can be made. A keyword that is too long is no error of syntax: cannot then says
// what the command's NO has to.
func (s *Session) parseFlags(d *imapwire.Decoder, names []string, flags *mailstore.Flags, keywords *[]string, cannot *error) bool {
	for _, name := range names {
		if name[0] != '\\' {
			if len(name) > s.cfg.Settings.MaxKeyword {
				if *cannot == nil {
					*cannot = errLongKeyword
				}
				continue
			}
			if !view.HasKeyword(*keywords, name) {
				*keywords = append(*keywords, name)
			}
			continue
		}
		flag, ok := view.SystemFlag(name)
		if !ok {
			return d.Fail("a system flag that can be set")
		}
		*flags |= flag
	}
	return true
}

func (c *store) run(s *Session) (view.Reply, error) {
	uids, err := s.view.Resolve(c.set, c.uid)
	if err != nil {
		return badSet, nil
	}
	if s.view.ReadOnly() {
		return view.Reply{}, readOnly("store")
	}
	if err := s.view.Sync(); err != nil {
		return view.Reply{}, err
	}
	c.change.UIDs = uids
	result, err := s.view.Box().Store(c.change)
	s.view.Refresh()
	if !result.Changed.Empty() {
		s.changed()
	}
	if c.change.Op != mailstore.RemoveFlags && c.change.Flags&mailstore.Deleted != 0 {
		s.counts.Deleted += result.Changed.Len()
	}
	if err != nil {
		return view.Reply{}, err
	}
	gone, left := false, false
	s.view.AnnounceKeywords(&s.enc)
	for seq, uid := range s.view.Each(uids) {
		if _, _, expunged := s.view.Entry(uid); expunged {
			gone = true
			continue
		}
		left = true
		// RFC 3501 §6.4.6: .SILENT hides our own change, but not what another did,
		// before it or after: flags that the client cannot foresee are told.
		if !c.silent || !s.view.Foreseen(seq, c.change) {
			s.view.WriteFlags(&s.enc, uid, c.uid)
		}
		s.view.MarkTold(uid)
		if err := s.flushSome(); err != nil {
			return view.Reply{}, err
		}
	}
	// RFC 2180 §4.2.1: with .SILENT, OK if it was done to all that are left.
	if gone && !c.uid && !(c.silent && left) {
		return view.No("EXPUNGEISSUED", "Some of the messages no longer exist."), nil
	}
	return view.Done("Store completed."), nil
}
