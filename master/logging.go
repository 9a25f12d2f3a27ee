package master

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"rookery/internal/child"
	"rookery/internal/child/spawn"
	"rookery/internal/ipc"
	"rookery/internal/ipc/logmsg"
	"rookery/internal/settings"
)

// logService is logd, and every process's log channel. master keeps a copy of
// logd's ends: when logd dies, the next one reads on, and no process notices.
type logService struct {
	m        *master
	proc     *proc // nil while there is none
	live     bool  // it has its files: channels may be attached
	attached map[uint64]*attachment
	next     uint64
	waiting  map[uint64]func(*logmsg.ErrorLines)
	broken   bool // the system's logger is being looked for
}

type attachment struct {
	role string
	pid  int32
	user string
	fd   int  // a copy of logd's end
	told bool // a logd was given it
}

// attach makes a log channel and gives the writer's end.
func (l *logService) attach(role, user string) (writer int, id uint64, err error) {
	writer, reader, err := ipc.Pair()
	if err != nil {
		return -1, 0, err
	}
	l.next++
	a := &attachment{role: role, user: user, fd: reader}
	l.attached[l.next] = a
	l.tell(l.next, a)
	return writer, l.next, nil
}

// tell attaches a channel. Lines that come before logd has its files would be
// lost, so the channel waits until then, and the lines in it.
func (l *logService) tell(id uint64, a *attachment) {
	if l.live {
		l.m.send(l.proc, &logmsg.Attach{ID: id, Role: a.role, PID: a.pid, User: a.user, Resumed: a.told}, a.fd)
		a.told = true
	}
}

func (l *logService) goLive() {
	if l.live || l.proc == nil {
		return
	}
	l.live = true
	for id, a := range l.attached {
		l.tell(id, a)
	}
}

// named tells whose channel it is, as soon as that is known.
func (l *logService) named(id uint64, pid int, user string) {
	a := l.attached[id]
	if a == nil {
		return
	}
	a.pid = int32(pid)
	if user != "" {
		a.user = user
	}
	if l.live {
		l.m.send(l.proc, &logmsg.Named{ID: id, PID: a.pid, User: user}, -1)
	}
}

// detach closes master's copy: when the writer is gone too, logd sees the end.
func (l *logService) detach(id uint64) {
	if a := l.attached[id]; a != nil {
		delete(l.attached, id)
		l.m.close(a.fd)
	}
}

// startLogd starts logd and gives it all channels that there are.
func (m *master) startLogd() error {
	info, err := sealInfo(child.Logd, child.Info{Strict: m.strict})
	if err != nil {
		return err
	}
	l := &m.logd
	p := &proc{}
	p.onMsg = func(msg ipc.Message, fd int) { l.message(p, msg) }
	p.onGone = func(err error) {
		if text := why(err); text != "" {
			fmt.Fprintln(os.Stderr, "rookery: logd:", text)
		}
		p.kill()
	}
	p.onExit = func(e spawn.Exit) { m.logdGone(p, e) }
	err = m.launch(birth{role: child.Logd, proto: logmsg.Control, info: info, cred: m.cred(m.cfg.log), stderr: os.Stderr,
		forker: m.forker, net: true, procs: maxProcs(2)}, p, func(err error) {
		if err != nil {
			m.serviceFailed(child.Logd, err)
		}
	})
	if err != nil {
		return err
	}
	l.proc, l.live = p, false
	m.openSinks(nil)
	return nil
}

func (m *master) logdGone(p *proc, e spawn.Exit) {
	l := &m.logd
	if l.proc == p {
		l.proc, l.live = nil, false
	}
	for id, f := range l.waiting {
		delete(l.waiting, id)
		f(nil)
	}
	if m.stop.over {
		return
	}
	fmt.Fprintf(os.Stderr, "rookery: logd[%d] ended: %s\n", p.pid, e)
	m.ended(p, e) // the next one reads it
	m.again(p, e, func() {
		if err := m.startLogd(); err != nil {
			m.serviceFailed(child.Logd, err)
		}
	})
}

func (l *logService) message(p *proc, msg ipc.Message) {
	switch msg := msg.(type) {
	case *logmsg.Ready:
		p.ready = true
		l.m.advance()
	case *logmsg.ErrorLines:
		if f := l.waiting[msg.ID]; f != nil {
			delete(l.waiting, msg.ID)
			f(msg)
		}
	case *logmsg.Broken:
		l.m.findSyslog()
	}
}

// sink is one place where lines go.
type sink struct {
	logmsg.Sink
	file *os.File
}

// sinks lists where lines of each level go: neighbours with one place share it.
func sinks(set *settings.Set) []*sink {
	errors := settings.LogPath.Get(set)
	infos := or(settings.InfoLogPath.Get(set), errors)
	debugs := or(settings.DebugLogPath.Get(set), infos)
	var out []*sink
	for _, row := range []struct {
		path     string
		min, max logmsg.Level
	}{{errors, logmsg.Warning, logmsg.Panic}, {infos, logmsg.Info, logmsg.Info}, {debugs, logmsg.Debug, logmsg.Debug}} {
		if n := len(out); n > 0 && out[n-1].Path == row.path {
			out[n-1].Min = row.min
			continue
		}
		s := &sink{Sink: logmsg.Sink{Kind: "file", Path: row.path, Min: row.min, Max: row.max, Format: settings.LogFormat.Get(set),
			Facility: settings.SyslogFacility.Get(set), Tag: settings.SyslogTag.Get(set)}}
		switch row.path {
		case "syslog":
			s.Kind = "syslog"
		case "stderr", "/dev/stderr":
			s.Kind = "stderr"
			if s.Format == "text" && toJournal(os.Getenv("JOURNAL_STREAM"), int(os.Stderr.Fd())) {
				s.Format = "journal"
			}
		}
		out = append(out, s)
	}
	return out
}

// toJournal tells whether a descriptor is the one that systemd's journal reads,
// which it then says in $JOURNAL_STREAM as "device:inode" (systemd.exec(5)). The
// journal takes the level from each line and has its own time.
func toJournal(stream string, fd int) bool {
	var st unix.Stat_t
	if stream == "" || unix.Fstat(fd, &st) != nil {
		return false
	}
	return stream == fmt.Sprintf("%d:%d", st.Dev, st.Ino)
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// open opens a file for appending. It may block, so it runs outside the loop.
func (s *sink) open() error {
	if s.Kind != "file" {
		return nil
	}
	f, err := os.OpenFile(s.Path, os.O_WRONLY|os.O_CREATE|os.O_APPEND|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY, 0o600)
	if err != nil {
		return err
	}
	if err := ipc.CheckFD(int(f.Fd()), ipc.FDFile); err != nil {
		f.Close()
		return fmt.Errorf("%s: %w", s.Path, err)
	}
	s.file = f
	return nil
}

// openSinks opens the log files and passes them to logd. If one cannot be
// opened nothing changes. done may be nil.
func (m *master) openSinks(done func(error)) {
	set := m.cfg.set
	list := sinks(set)
	go func() {
		var err error
		for _, s := range list {
			if err == nil {
				err = s.open()
			}
		}
		m.post(func() {
			m.passSinks(set, list, err)
			if done != nil {
				done(err)
			}
		})
	}()
}

func (m *master) passSinks(set *settings.Set, list []*sink, err error) {
	defer func() {
		for _, s := range list {
			if s.file != nil {
				s.file.Close()
			}
		}
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, "rookery: cannot open the log:", err)
		m.log.Errorf("cannot open the log: %v", err)
		m.logd.goLive()
		if !m.up {
			m.finish(fail(exitConfig, "cannot open the log: %w", err))
		}
		return
	}
	p, syslog := m.logd.proc, false
	for _, s := range list {
		fd := -1
		if s.file != nil {
			fd = int(s.file.Fd())
		}
		syslog = syslog || s.Kind == "syslog"
		m.send(p, &s.Sink, fd)
	}
	m.send(p, &logmsg.Style{Timestamp: settings.LogTimestamp.Get(set), MailPrefix: settings.MailLogPrefix.Get(set).String()}, -1)
	m.send(p, &logmsg.SinksDone{Count: uint32(len(list))}, -1)
	m.logd.goLive()
	if syslog {
		m.findSyslog()
	}
}

// reopenLogs is SIGUSR1.
func (m *master) reopenLogs() {
	m.openSinks(func(err error) {
		if err == nil {
			m.log.Infof("log files are reopened")
		}
	})
}

// syslogSocket is where the system's logger listens.
const syslogSocket = "/dev/log"

// findSyslog connects to the system's logger and passes the socket; while
// there is none it tries again every five seconds.
func (m *master) findSyslog() {
	if m.logd.broken {
		return
	}
	m.logd.broken = true
	go func() {
		fd, err := dialSyslog(syslogSocket)
		m.post(func() {
			m.logd.broken = false
			if err != nil {
				if !m.stop.over {
					m.after(5*time.Second, m.findSyslog)
				}
				return
			}
			m.send(m.logd.proc, &logmsg.SyslogSocket{}, fd)
			unix.Close(fd)
		})
	}()
}

// syslogPatience is how long the system's logger may keep one line waiting.
const syslogPatience = 200 * time.Millisecond

func dialSyslog(path string) (int, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	// The queue of such a socket may hold ten lines only (net.unix.max_dgram_qlen):
	// logd waits for room, but never for long.
	wait := unix.NsecToTimeval(int64(syslogPatience))
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &wait); err != nil {
		unix.Close(fd)
		return -1, err
	}
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// What a child may write to its standard error: a panic's trace has room.
const (
	stderrBurst = 256 << 10
	stderrRate  = 4 << 10 // bytes a second
)

// pumpStderr passes a child's standard error to logd. It does not run in the
// loop. A child that writes too much is read on, into nothing.
func (m *master) pumpStderr(p *proc, r io.ReadCloser) {
	defer r.Close()
	buf := make([]byte, 16<<10)
	room, last, dropped, have := stderrBurst, time.Now(), false, 0
	for {
		n, err := r.Read(buf[have:])
		have += n
		whole := bytes.LastIndexByte(buf[:have], '\n') + 1 // a trace comes word by word
		if err != nil || have == len(buf) {
			whole = have
		}
		now := time.Now()
		room = min(stderrBurst, room+int(now.Sub(last).Seconds()*stderrRate))
		last = now
		switch {
		case whole > 0 && whole <= room:
			room -= whole
			dropped = false
			data := bytes.Clone(buf[:whole])
			m.post(func() { m.stderr(p, data) })
		case whole > 0 && !dropped:
			dropped = true
			m.post(func() { m.log.Warnf("%s[%d] writes too much to its standard error: some is dropped", p.role, p.pid) })
		}
		have = copy(buf, buf[whole:have])
		if err != nil {
			return
		}
	}
}

func (m *master) stderr(p *proc, data []byte) {
	if !m.up && !m.stop.began { // the operator sits before it
		os.Stderr.Write(data)
	}
	m.send(m.logd.proc, &logmsg.Stderr{Role: logRole(p.role), PID: int32(p.pid), Data: data}, -1)
}

var errNoLogd = errors.New("logd is being started anew; try again in a moment")
