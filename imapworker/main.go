package imapworker

import (
	"strconv"
	"strings"
	"sync"
	"time"

	"rookery/imapworker/internal/fetch"
	"rookery/imapworker/internal/search"
	"rookery/imapworker/internal/session"
	"rookery/imapworker/internal/sorting"
	"rookery/internal/child"
	"rookery/internal/imapwire"
	"rookery/internal/mailstore"
	"rookery/internal/message"
	"rookery/internal/sandbox"
	"rookery/internal/settings"
	"rookery/internal/worker"
)

// Main runs the worker and gives its exit code.
func Main() int {
	return worker.Main(worker.Program{Role: child.IMAPWorker, Protocol: "imap", Sandbox: sandbox.IMAPWorker,
		Settings: settings.RoleIMAP, New: newServer})
}

// server serves all IMAP sessions of one user.
type server struct {
	host   *worker.Host
	store  mailstore.Store
	config session.Config // what all sessions have in common
	logout settings.Template

	mu      sync.Mutex
	clients map[*client]struct{}
	polled  map[mailstore.GUID]time.Time // when a mailbox was last looked at for idle sessions
}

func newServer(host *worker.Host) (worker.Server, error) {
	store, err := host.OpenStore("imap")
	if err != nil {
		return nil, err
	}
	return serverOn(host, store)
}

// serverOn makes the server of a user's store.
func serverOn(host *worker.Host, store mailstore.Store) (*server, error) {
	set, err := sessionSettings(host.Settings)
	if err != nil {
		return nil, err
	}
	s := &server{host: host, store: store, logout: settings.IMAPLogoutFormat.Get(host.Settings), clients: make(map[*client]struct{}), polled: make(map[mailstore.GUID]time.Time)}
	looking := search.Config{Limits: message.DefaultLimits()}
	s.config = session.Config{Settings: set, Store: store, Changed: host.Changed, MayPoll: s.mayPoll, Jobs: session.Jobs{
		Fetch:  fetch.Parser(fetch.Config{Failure: failures[settings.IMAPFetchFailure.Get(host.Settings)], Limits: message.DefaultLimits()}),
		Search: search.Parser(looking),
		Sort:   sorting.Sort(looking),
		Thread: sorting.Thread(looking),
	}}
	return s, nil
}

// failures are the words of imap_fetch_failure.
var failures = map[string]fetch.OnFailure{"no-after": fetch.NoAfter, "disconnect-after": fetch.DisconnectAfter,
	"disconnect-immediately": fetch.DisconnectImmediately}

// sessionSettings turns the settings into the session's.
func sessionSettings(set *settings.Set) (session.Settings, error) {
	out := session.Defaults()
	out.MaxLine = int(settings.IMAPMaxLineLength.Get(set))
	out.MaxMessage = settings.MailMaxMessageSize.Get(set)
	out.MaxKeyword = int(settings.MailMaxKeywordLength.Get(set))
	out.MaxMessage = settings.MailMaxMessageSize.Get(set)
	out.IdleNotify = settings.IMAPIdleNotifyInterval.Get(set)
	for _, word := range settings.IMAPClientWorkarounds.Get(set) {
		out.DelayNewMail = out.DelayNewMail || word == "delay-newmail"
		out.ExtraSeparator = out.ExtraSeparator || word == "tb-extra-mailbox-sep"
		out.LsubFlags = out.LsubFlags || word == "tb-lsub-flags"
	}
	out.ServerID = nil
	for _, field := range set.Value(settings.IMAPIDSend.Decl()).(settings.Fields) {
		value, err := field.Value.Expand(nil)
		if err != nil {
			return out, err
		}
		out.ServerID = append(out.ServerID, imapwire.NString{S: field.Name, Set: true}, imapwire.NString{S: value, Set: true})
	}
	return out, nil
}

// mayPoll lets one session per mailbox and half second look at the disk.
func (s *server) mayPoll(mailbox mailstore.GUID, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Sub(s.polled[mailbox]) < s.config.Settings.Poll/2 {
		return false
	}
	if len(s.polled) > 100 {
		clear(s.polled) // only a saving: to forget costs one look more
	}
	s.polled[mailbox] = now
	return true
}

func (s *server) enter(c *client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clients[c] = struct{}{}
}

func (s *server) leave(c *client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.clients, c)
}

// Wake tells every session that another process changed the mail.
func (s *server) Wake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.clients {
		select {
		case c.wake <- struct{}{}:
		default:
		}
	}
}

// Close gives up the store.
func (s *server) Close() {
	if err := s.store.Close(); err != nil {
		s.host.Log.Warnf("closing the store: %v", err)
	}
}

// logoutText fills in imap_logout_format.
func (s *server) logoutText(ws *worker.Session, n session.Counts) string {
	number := func(v uint64) string { return strconv.FormatUint(v, 10) }
	in, out := ws.Stream.Octets()
	text, err := s.logout.Expand(settings.Vars{
		"input": number(in), "output": number(out), "deleted": number(n.Deleted), "expunged": number(n.Expunged),
		"trashed": number(n.Trashed), "appended": number(n.Appended),
		"fetch_hdr_count": number(n.Fetched.HeaderCount), "fetch_hdr_bytes": number(n.Fetched.HeaderBytes),
		"fetch_body_count": number(n.Fetched.BodyCount), "fetch_body_bytes": number(n.Fetched.BodyBytes),
		"user": s.host.User.User, "session": ws.Name, "remote_ip": ws.Go.Remote.Addr().String()})
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(text)
}
