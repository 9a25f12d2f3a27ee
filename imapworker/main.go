package imapworker

import (
	"strconv"
	"strings"
	"sync"
	"time"

	"rookery/imapworker/internal/compress"
	"rookery/imapworker/internal/fetch"
	"rookery/imapworker/internal/search"
	"rookery/imapworker/internal/session"
	"rookery/imapworker/internal/sorting"
	"rookery/imapworker/internal/view"
	"rookery/internal/acl"
	"rookery/internal/child"
	"rookery/internal/imapwire"
	"rookery/internal/ipc/workermsg"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/guarded"
	"rookery/internal/mailstore/others"
	"rookery/internal/message"
	"rookery/internal/sandbox"
	"rookery/internal/settings"
	"rookery/internal/vfs"
	"rookery/internal/worker"
)

// Main runs the worker and gives its exit code.
func Main() int { return worker.Main(Program()) }

// Program is the worker as package worker runs it.
func Program() worker.Program {
	return worker.Program{Role: child.IMAPWorker, Protocol: "imap", Sandbox: sandbox.IMAPWorker, Settings: settings.RoleIMAP, New: newServer}
}

// server serves all IMAP sessions of one user.
type server struct {
	host        *worker.Host
	outside     outside
	store       mailstore.Store
	config      session.Config // what all sessions have in common
	logout      settings.Template
	compressors *compress.Pool // nil: COMPRESS is not offered
	shared      *publisher     // the store as guests come to it; nil: there are none
	guests      guests
	directory   *directory // of what others share; nil: no namespace shows it
	abroad      []*others.Store

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
	return serverWith(host, store, outside{host, host.Publish, host.ControlDir})
}

// outside is what the server has of its host to reach others and be reached by them.
type outside struct {
	asker
	publish func([]workermsg.Published)
	control func() (vfs.FS, error) // the directory of control files
}

func serverWith(host *worker.Host, store mailstore.Store, out outside) (*server, error) {
	set, err := sessionSettings(host.Settings)
	if err != nil {
		return nil, err
	}
	s := &server{host: host, outside: out, store: store, guests: newGuests(), logout: settings.IMAPLogoutFormat.Get(host.Settings), clients: make(map[*client]struct{}), polled: make(map[mailstore.GUID]time.Time)}
	if level := int(settings.IMAPCompressDeflateLevel.Get(host.Settings)); level > 0 {
		s.compressors = compress.NewPool(level)
	}
	fetching := fetch.Parser(fetch.Config{Failure: failures[settings.IMAPFetchFailure.Get(host.Settings)], Limits: message.DefaultLimits()})
	looking := search.Config{Limits: message.DefaultLimits(), FetchItems: view.TakesItems(fetching)}
	whole, err := s.whole()
	if err != nil {
		return nil, err
	}
	s.config = session.Config{Settings: set, Store: whole, MayPoll: s.mayPoll, Clock: time.Now, Jobs: session.Jobs{
		Fetch:  fetching,
		Search: search.Parser(looking),
		Sort:   sorting.Sort(looking),
		Thread: sorting.Thread(looking),
		Multi:  search.Multi(looking), CheckFilter: search.CheckFilter,
	}}
	return s, nil
}

// whole gives the store as the user's sessions have it: his own behind its access
// control lists, if it keeps them, and others' mail beside it where a namespace shows
// that.
func (s *server) whole() (mailstore.Store, error) {
	host := s.host
	lists, ok := mailstore.ACLs(s.store)
	if !ok {
		return s.store, nil
	}
	sharing := len(host.Foreign()) > 0
	if sharing {
		s.shared = newPublisher(s.store, lists, s.outside.publish, s.forgetSeen, func(text string) { host.Log.Warnf("%s", text) })
		s.store = s.shared
	}
	own, _ := guarded.Wrap(s.store, guarded.Options{Who: acl.Who{User: host.User.User, Owner: true}, Owner: host.User.User, Now: time.Now,
		Wide: settings.IMAPACLAllowAnyone.Get(host.Settings)})
	if !sharing {
		return own, nil
	}
	s.shared.look() // it may have changed while nobody was here
	return s.withOthers(own)
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
	if limit := settings.QuotaMailSize.Get(set); limit > 0 && (out.MaxMessage == 0 || limit < out.MaxMessage) {
		out.MaxMessage = limit // APPENDLIMIT tells it, so that nobody sends what is refused
	}
	out.IdleNotify = settings.IMAPIdleNotifyInterval.Get(set)
	out.MessageLimit = int(settings.IMAPMessageLimit.Get(set))
	out.SaveLimit = int(settings.IMAPSaveLimit.Get(set))
	out.UTF8 = settings.MailUTF8Extensions.Get(set)
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

// changed is called after a session has changed the user's mail: other processes
// are told, guests, and of this one's sessions those that watch other mailboxes. Who
// has the changed mailbox selected hears it from the mailbox.
func (s *server) changed(by *client) { s.changedBy(by, nil) }

// changedBy is changed for a session or a guest.
func (s *server) changedBy(by *client, guest *worker.Guest) {
	s.host.Changed()
	s.guests.tell(guest)
	s.wakeWatchers(by)
}

// wakeWatchers has the sessions look that watch other mailboxes, but for one.
func (s *server) wakeWatchers(but *client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.clients {
		if c != but && c.watches.Load() {
			c.wakeUp()
		}
	}
}

// Wake tells every session and guest that another process changed the mail.
func (s *server) Wake() {
	if s.shared != nil {
		s.shared.woken()
	}
	s.guests.tell(nil)
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.clients {
		c.wakeUp()
	}
}

// Close gives up the store.
func (s *server) Close() {
	if s.directory != nil {
		s.directory.close()
	}
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
