package session

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"rookery/imapworker/internal/view"
	"rookery/internal/imapwire"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/annotation"
	"rookery/internal/numset"
)

// context is what a command with a tag runs in.
func (s *Session) context(tag string, uid bool) *view.Context {
	return &view.Context{View: s.view, Enc: &s.enc, Out: &s.out, Tag: tag, Now: s.now, UID: uid, Fetched: &s.counts.Fetched,
		Enable: s.enableCondstore, QResync: s.qresync, Filter: s.filter, Progress: s.progress(tag), Log: s.cfg.Log.Warn}
}

// announce tells what is new in the selected mailbox, and what that means for the
// searches whose changes are told.
func (s *Session) announce(may view.May) error {
	if !s.view.Follows() {
		return s.view.Announce(&s.enc, may)
	}
	ctx := s.context("", false)
	ctx.Progress = nil
	ctx.FetchNew = func(items []byte, uids numset.Set) error {
		j, ok := s.fetchNew(items, uids.String())
		if !ok {
			return nil // they were taken once
		}
		_, err := j.run(s)
		return err
	}
	return s.view.AnnounceLive(ctx, may)
}

// cancelUpdate = "CANCELUPDATE" 1*(SP quoted)             RFC 5267 §5
//
// A tag that no search has whose changes are told is no error: it may have been
// refused, or lie in a mailbox that was selected before, and the client wants
// nothing that is not so.
type cancelUpdate struct{ tags []string }

func parseCancelUpdate(p *parser) (request, bool) {
	var c cancelUpdate
	for len(c.tags) == 0 || !p.AtEnd() {
		var tag string
		if !p.WantSP() || !p.WantString(&tag) {
			return nil, false
		}
		c.tags = append(c.tags, tag)
	}
	return c, p.WantEnd()
}

func (c cancelUpdate) run(s *Session) (view.Reply, error) {
	for _, tag := range c.tags {
		s.view.DropLive(tag)
	}
	return view.Done("No further updates."), nil
}

// filter gives what the user has stored under a filter's name: his own, or the
// one that is for all (RFC 5466 §3.1).
func (s *Session) filter(name string) (keys string, ok bool, err error) {
	notes := mailstore.AnnotatorOf(s.cfg.Store)
	if notes == nil {
		return "", false, nil
	}
	list, err := notes.Annotations("")
	if err != nil {
		return "", false, err
	}
	for _, root := range [...]string{"/private", "/shared"} {
		entry := annotation.Fold(root + filterValues + name)
		for _, a := range list {
			if annotation.Fold(a.Entry) == entry && a.Value != nil {
				return string(a.Value), true, nil
			}
		}
	}
	return "", false, nil
}

// filterValues is where filters lie, below "/private" and "/shared" (RFC 5466 §3.2).
const filterValues = "/filters/values/"

// ProgressAfter is after how long a command's client is told how far it is, and
// how often then (RFC 9585 §3: every 10 to 15 seconds).
const ProgressAfter = 10 * time.Second

// errKicked ends a command whose session has to end.
var errKicked = errors.New("the session has to end")

// progress gives what tells the client of a command how far it is, and ends the
// command where the session was told to end; nil where neither can be.
func (s *Session) progress(tag string) func(done, goal uint64) error {
	if s.cfg.Clock == nil && s.cfg.Kicked == nil {
		return nil
	}
	var last time.Time
	if s.cfg.Clock != nil {
		last = s.cfg.Clock()
	}
	return func(done, goal uint64) error {
		if err := s.goOn(); err != nil {
			return err
		}
		if s.cfg.Clock == nil {
			return nil
		}
		now := s.cfg.Clock()
		if now.Sub(last) < ProgressAfter {
			return nil
		}
		last = now
		goal = max(goal, 1)
		done = min(done, goal-1) // there is more to do, or it would be told as done
		inProgress(&s.enc, tag, strconv.FormatUint(done, 10)+" "+strconv.FormatUint(goal, 10))
		return s.out.Flush(&s.enc)
	}
}

// goOn is an error once the session has to end.
func (s *Session) goOn() error {
	if s.cfg.Kicked != nil && s.kicked == "" {
		s.kicked = s.cfg.Kicked()
	}
	if s.kicked != "" {
		return errKicked
	}
	return nil
}

// inProgress writes how far a command is: "done goal", or "NIL NIL" where nobody
// knows.
//
//	inprogress-tag-details = "INPROGRESS" [SP "(" (quoted / nil) SP (number / nil) SP
//	                         (nz-number / nil) ")"]         RFC 9585 §5
func inProgress(enc *imapwire.Encoder, tag, numbers string) {
	shown := `"` + tag + `"`
	if tag == "" || strings.Contains(tag, "]") {
		shown = "NIL" // "]" cannot stand in a response code
	}
	enc.Status("", imapwire.OK, imapwire.Code{Name: "INPROGRESS", Args: "(" + shown + " " + numbers + ")"}, "Still working.")
}

// slowly does work of a command that may take long and that the session cannot look
// into.
func (s *Session) slowly(tag string, work func()) {
	if s.cfg.Await == nil {
		work()
		return
	}
	s.flush() // what came before it
	enc := imapwire.Encoder{Options: s.enc.Options, Texts: s.enc.Texts}
	inProgress(&enc, tag, "NIL NIL")
	stop := s.cfg.Await(enc.Take())
	defer stop()
	work()
}

// badFilter is the answer to annotations of the server that are to be filters and
// are no search keys (RFC 5466 §3.2: "The server SHOULD verify that each search
// criterion stored in such a server entry is a full and correct search criterion").
func (s *Session) badFilter(changes []mailstore.Annotation) (refused view.Reply, bad bool) {
	for _, a := range changes {
		entry := annotation.Fold(a.Entry)
		_, private := strings.CutPrefix(entry, "/private"+filterValues)
		_, shared := strings.CutPrefix(entry, "/shared"+filterValues)
		if a.Value == nil || !private && !shared || s.cfg.CheckFilter == nil {
			continue
		}
		if err := s.cfg.CheckFilter(string(a.Value)); err != nil {
			return view.No("CANNOT", "A filter's value must be search keys."), true
		}
	}
	return view.Reply{}, false
}
