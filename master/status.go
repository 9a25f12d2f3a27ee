package master

import (
	"slices"
	"time"

	"rookery/internal/buildid"
	"rookery/internal/ipc/ctlmsg"
	"rookery/internal/ipc/handoffmsg"
	"rookery/internal/ipc/logmsg"
	"rookery/internal/ipc/redeemmsg"
	"rookery/internal/ipc/workermsg"
	"rookery/internal/settings"
	"rookery/master/internal/handover"
)

// statusBody is what `rookeryctl status` shows.
type statusBody struct {
	Version    string            `json:"version"`
	Build      string            `json:"build"`
	PID        int               `json:"pid"`
	Started    time.Time         `json:"started"`
	Generation uint64            `json:"generation"`
	State      string            `json:"state"`
	Listeners  []listenerBody    `json:"listeners"`
	Logins     loginsBody        `json:"login"`
	Now        handover.Numbers  `json:"now"`
	Limits     limitsBody        `json:"limits"`
	Counters   handover.Counters `json:"counters"`
	Missing    []string          `json:"missing_protections,omitempty"`
	Processes  []processBody     `json:"processes"`
}

type listenerBody struct {
	Name     string `json:"name"`
	Protocol string `json:"protocol"`
	Address  string `json:"address"`
}

type loginsBody struct {
	Processes       int    `json:"processes"`
	Draining        int    `json:"draining"`
	Generations     int    `json:"generations"`
	Unauthenticated uint64 `json:"unauthenticated"`
	Relayed         uint64 `json:"relayed_tls_sessions"`
	Dropped         uint64 `json:"dropped_strangers"`
}

type limitsBody struct {
	Workers int   `json:"worker_process_limit"`
	UserIP  int64 `json:"mail_max_userip_connections"`
	User    int64 `json:"mail_max_user_connections"`
	Guests  int   `json:"worker_guest_process_limit"`
	Logins  int   `json:"logins_in_flight"`
}

type processBody struct {
	Role  string    `json:"role"`
	PID   int       `json:"pid"`
	User  string    `json:"user"`
	Since time.Time `json:"since"`
}

type sessionBody struct {
	User      string    `json:"user"`
	Owner     string    `json:"owner,omitempty"` // of a guest: whose shared mail he sees
	Service   string    `json:"service"`
	Session   string    `json:"session"`
	PID       int       `json:"pid"`
	Remote    string    `json:"remote"`
	Local     string    `json:"local"`
	TLS       bool      `json:"tls"`
	Mechanism string    `json:"mechanism"`
	Since     time.Time `json:"since"`
}

func (m *master) status() statusBody {
	l := m.cfg.limits()
	b := statusBody{Version: buildid.Version, Build: buildid.ID(), PID: selfPID(), Started: m.started.UTC().Round(time.Second), Generation: m.cfg.generation,
		State: "running", Now: m.table.Now(), Counters: m.table.Counters, Missing: m.missing, Processes: m.processes(),
		Limits: limitsBody{l.Workers, settings.MailMaxUserIPConnections.Get(m.cfg.set), settings.MailMaxUserConnections.Get(m.cfg.set), l.Guests, l.Requests}}
	switch {
	case m.stop.began:
		b.State = "stopping"
	case m.reload.active:
		b.State = "reloading"
	}
	for _, s := range m.sockets.Sockets {
		b.Listeners = append(b.Listeners, listenerBody{s.Info.Name, s.Info.Protocol, s.Address})
	}
	b.Logins.Generations = m.logins.generations()
	for _, p := range m.logins.all {
		b.Logins.Processes++
		if p.drained {
			b.Logins.Draining++
		}
		b.Logins.Unauthenticated += uint64(p.load.Unauthenticated)
		b.Logins.Relayed += uint64(p.load.Relayed)
		b.Logins.Dropped += p.load.Dropped
	}
	return b
}

// processes lists the children, and master itself first.
func (m *master) processes() []processBody {
	out := []processBody{{"master", selfPID(), "", m.started.UTC().Round(time.Second)}}
	var list []*proc
	for _, p := range m.procs {
		if p.child != nil {
			list = append(list, p)
		}
	}
	slices.SortFunc(list, func(a, b *proc) int { return int(a.id) - int(b.id) })
	for _, p := range list {
		out = append(out, processBody{string(p.role), p.pid, p.user, p.began.UTC().Round(time.Second)})
	}
	return out
}

func (m *master) who(user string) []sessionBody {
	out := []sessionBody{}
	for _, s := range m.table.Sessions(user) {
		if !s.Taken {
			continue
		}
		b := sessionBody{User: s.User, Owner: s.Owner, Service: s.Service, Session: s.Session, PID: s.PID, TLS: s.TLS, Mechanism: s.Mech, Since: s.Since.UTC().Round(time.Second)}
		if s.Remote.IsValid() {
			b.Remote = s.Remote.String()
		}
		if s.Local.IsValid() {
			b.Local = s.Local.String()
		}
		out = append(out, b)
	}
	return out
}

type errorBody struct {
	Number uint64    `json:"number"`
	Time   time.Time `json:"time"`
	Level  string    `json:"level"`
	Text   string    `json:"text"`
}

var levelNames = map[logmsg.Level]string{logmsg.Debug: "debug", logmsg.Info: "info", logmsg.Warning: "warning", logmsg.Error: "error",
	logmsg.Fatal: "fatal", logmsg.Panic: "panic"}

// logErrors asks logd for its last warnings and errors, piece by piece.
func (m *master) logErrors(_ *ctlmsg.Request, to func(reply)) {
	out := []errorBody{}
	var next func(after uint64)
	next = func(after uint64) {
		id := m.id()
		if m.logd.proc == nil || !m.send(m.logd.proc, &logmsg.Errors{ID: id, After: after}, -1) {
			to(failed(75, "%v", errNoLogd))
			return
		}
		m.logd.waiting[id] = func(lines *logmsg.ErrorLines) {
			if lines == nil {
				to(failed(75, "%v", errNoLogd))
				return
			}
			for _, l := range lines.Lines {
				out = append(out, errorBody{l.Number, l.Time, levelNames[l.Level], l.Text})
				after = l.Number
			}
			if lines.More && len(lines.Lines) > 0 {
				next(after)
				return
			}
			to(reply{body: out})
		}
	}
	next(0)
}

// tellDebug tells all processes whose debug lines are wanted.
func (m *master) tellDebug() {
	filter := m.debug
	if filter == "" { // back to what the settings say
		filter = debugSetting(m.cfg.set)
	}
	m.send(m.authd.proc, &redeemmsg.LogDebug{Filter: filter}, -1)
	for _, l := range m.logins.all {
		m.send(l.proc, &handoffmsg.LogDebug{Filter: filter}, -1)
	}
	for _, w := range m.workers.byID {
		m.send(w.proc, &workermsg.LogDebug{Filter: filter}, -1)
	}
}
