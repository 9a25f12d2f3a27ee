package pop3worker

import (
	"strings"
	"time"

	"rookery/internal/child"
	"rookery/internal/mailstore"
	"rookery/internal/sandbox"
	"rookery/internal/settings"
	"rookery/internal/worker"
	"rookery/pop3worker/internal/session"
)

// Main runs the worker and gives its exit code.
func Main() int {
	return worker.Main(worker.Program{Role: child.POP3Worker, Protocol: "pop3", Sandbox: sandbox.POP3Worker, Settings: settings.RolePOP3, New: newServer})
}

// server serves all POP3 sessions of one user.
type server struct {
	host     *worker.Host
	store    mailstore.Store
	cfg      session.Config
	ownOrder bool
	lock     lock
	logout   settings.Template
}

func newServer(host *worker.Host) (worker.Server, error) {
	store, err := host.OpenStore("pop3")
	if err != nil {
		return nil, err
	}
	return &server{host: host, store: store, cfg: config(host.Settings), ownOrder: true, lock: newLock(host),
		logout: settings.POP3LogoutFormat.Get(host.Settings)}, nil
}

// config turns the settings into the session's.
func config(set *settings.Set) session.Config {
	format := settings.POP3UIDLFormat.Get(set)
	cfg := session.Config{
		RenameUIDL:     settings.POP3UIDLDuplicates.Get(set) == "rename",
		NoFlagUpdates:  settings.POP3NoFlagUpdates.Get(set),
		EnableLast:     settings.POP3EnableLast.Get(set),
		DeletedFlag:    settings.POP3DeletedFlag.Get(set),
		Expire:         int(settings.POP3Expire.Get(set)),
		LoginDelay:     int(settings.POP3LoginDelay.Get(set) / time.Second),
		NeedMD5:        format.Uses("md5"),
		Implementation: "Rookery",
	}
	logout := settings.POP3LogoutFormat.Get(set)
	cfg.Totals = logout.Uses("message_bytes") || logout.Uses("deleted_bytes")
	kind := settings.POP3DeleteType.Get(set)
	cfg.DeleteByFlag = cfg.DeletedFlag != "" && kind != "expunge"
	for _, w := range settings.POP3ClientWorkarounds.Get(set) {
		cfg.NoNULs = cfg.NoNULs || w == "outlook-no-nuls"
		cfg.EndOfHeaders = cfg.EndOfHeaders || w == "oe-ns-eoh"
	}
	if !set.IsDefault(settings.POP3UIDLFormat.Decl()) {
		cfg.UIDL = func(v *session.UIDLVars) (string, error) {
			return format.Expand(settings.Vars{"uid": utoa(uint64(v.UID)), "uidvalidity": utoa(uint64(v.UIDValidity)), "md5": v.MD5,
				"filename": v.Filename, "guid": v.GUID})
		}
	}
	return cfg
}

// Wake is of no use here: a session's messages are fixed when it begins.
func (s *server) Wake() {}

// Close gives up the store.
func (s *server) Close() { s.store.Close() }

// logoutText fills in pop3_logout_format.
func (s *server) logoutText(ws *worker.Session, st session.Stats) string {
	in, out := ws.Stream.Octets()
	text, err := s.logout.Expand(settings.Vars{
		"top_count": itoa(st.TopCount), "top_bytes": utoa(uint64(st.TopBytes)), "retr_count": itoa(st.RetrCount), "retr_bytes": utoa(uint64(st.RetrBytes)),
		"deleted_count": itoa(st.DeletedCount), "deleted_bytes": utoa(uint64(st.DeletedBytes)), "message_count": itoa(st.MessageCount),
		"message_bytes": utoa(uint64(st.MessageBytes)), "input": utoa(in), "output": utoa(out), "user": s.host.User.User, "session": ws.Name,
		"remote_ip": ws.Go.Remote.Addr().String()})
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(text)
}
