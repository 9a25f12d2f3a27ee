package master

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"rookery/internal/ipc"
	"rookery/internal/ipc/handoffmsg"
	"rookery/internal/ipc/redeemmsg"
	"rookery/internal/settings"
)

// pairSpec names the files of one certificate and its key.
type pairSpec struct {
	name      string // of the [[ssl_server_name]]; "" is the default pair
	alt       bool
	cert, key string
}

func (s pairSpec) String() string {
	if s.name == "" {
		return s.cert
	}
	return fmt.Sprintf("%s (%s)", s.cert, s.name)
}

// pairs are the certificates in use. authd holds the keys; master never reads
// either, it only opens the files.
type pairs struct {
	use     map[pairSpec]*redeemmsg.PairChecked // as login processes have them
	asked   map[uint64]asking                   // passed, not checked yet
	kept    map[pairSpec]asking                 // the files of what is in use
	has     map[pairSpec]bool                   // what the present authd was given and took
	old     []oldPair
	problem error // of the first set
	tickets [][handoffmsg.TicketKey]byte
	rotated time.Time
}

// asking is a pair's open files. Those in use stay open: should authd be started
// anew while the files on disk do not fit each other, it gets these.
type asking struct {
	spec      pairSpec
	cert, key *os.File // nil until they are open
	kept      bool     // they belong to pairs.kept
}

func (a asking) close() {
	if a.cert != nil && !a.kept {
		a.cert.Close()
		a.key.Close()
	}
}

// oldPair is one that was replaced: handshakes that have begun may still need
// its key.
type oldPair struct {
	id   uint64
	from time.Time
}

const (
	keepOldPair   = 5 * time.Minute
	rotateTickets = 12 * time.Hour
	ticketKeys    = 3 // a ticket lives for one to two rotations
	soonEnds      = 14 * 24 * time.Hour
)

func (ps *pairs) init() {
	ps.use, ps.asked = map[pairSpec]*redeemmsg.PairChecked{}, map[uint64]asking{}
	ps.kept, ps.has = map[pairSpec]asking{}, map[pairSpec]bool{}
}

// specs lists the pairs of the settings.
func (*pairs) specs(set *settings.Set) []pairSpec {
	if settings.SSL.Get(set) == "no" {
		return nil
	}
	out := []pairSpec{{cert: settings.SSLServerCertFile.Get(set), key: settings.SSLServerKeyFile.Get(set)}}
	if c := settings.SSLServerAltCertFile.Get(set); c != "" {
		out = append(out, pairSpec{alt: true, cert: c, key: settings.SSLServerAltKeyFile.Get(set)})
	}
	for _, n := range set.ServerNames() {
		out = append(out, pairSpec{name: n.Name, cert: n.CertFile, key: n.KeyFile})
		if n.AltCertFile != "" {
			out = append(out, pairSpec{name: n.Name, alt: true, cert: n.AltCertFile, key: n.AltKeyFile})
		}
	}
	return out
}

// passAll passes all pairs to a new authd, or after a reload the new ones too.
func (ps *pairs) passAll(m *master) {
	for _, s := range ps.specs(m.cfg.set) {
		ps.pass(m, s)
	}
}

// changed is told by the watcher.
func (ps *pairs) changed(m *master, s pairSpec) {
	m.log.Infof("certificate or key of %s changed", s)
	ps.pass(m, s)
}

// pass opens certificate and key, which only root may, and passes them.
func (ps *pairs) pass(m *master, s pairSpec) {
	id := m.id()
	ps.asked[id] = asking{spec: s}
	go func() {
		cert, err := openRegular(s.cert)
		var key *os.File
		if err == nil {
			if key, err = openRegular(s.key); err != nil {
				cert.Close()
			}
		}
		m.post(func() {
			if err != nil {
				ps.checked(m, &redeemmsg.PairChecked{Pair: id, Problem: err.Error()})
				return
			}
			a := asking{spec: s, cert: cert, key: key}
			if _, still := ps.asked[id]; !still { // authd is another now, and was asked anew
				a.close()
				return
			}
			ps.give(m, id, a)
		})
	}()
}

// give passes open files to authd.
func (ps *pairs) give(m *master, id uint64, a asking) {
	ps.asked[id] = a
	for _, f := range []struct {
		use, path string
		file      *os.File
	}{{"certificate", a.spec.cert, a.cert}, {"key", a.spec.key, a.key}} {
		m.send(m.authd.proc, &redeemmsg.File{Use: f.use, Name: a.spec.name, Path: f.path, Pair: id}, int(f.file.Fd()))
	}
}

// keep remembers the files of a pair that is in use.
func (ps *pairs) keep(a asking) {
	ps.has[a.spec] = true
	if a.kept || a.cert == nil {
		return
	}
	was := ps.kept[a.spec]
	was.kept = false
	was.close()
	a.kept = true
	ps.kept[a.spec] = a
}

func openRegular(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	if err := ipc.CheckFD(int(f.Fd()), ipc.FDFile); err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return f, nil
}

// checked is authd's verdict. A pair that does not fit changes nothing.
func (ps *pairs) checked(m *master, c *redeemmsg.PairChecked) {
	a, ok := ps.asked[c.Pair]
	if !ok {
		return
	}
	s := a.spec
	delete(ps.asked, c.Pair)
	if c.Problem == "" {
		ps.keep(a)
	} else {
		a.close()
	}
	switch {
	case c.Problem != "" && ps.use[s] != nil:
		m.log.Errorf("certificate %s and key %s cannot be used, the old ones stay in use: %s", s, s.key, c.Problem)
		ps.old = append(ps.old, oldPair{id: c.Pair})
		if k := ps.kept[s]; !ps.has[s] && !a.kept && k.cert != nil { // a new authd does not have them
			ps.give(m, m.id(), k)
		}
	case c.Problem != "":
		m.log.Errorf("certificate %s and key %s cannot be used: %s", s, s.key, c.Problem)
		if ps.problem == nil {
			ps.problem = fmt.Errorf("certificate %s and key %s cannot be used: %s", s, s.key, c.Problem)
		}
		ps.old = append(ps.old, oldPair{id: c.Pair})
	default:
		ps.adopt(m, s, c)
	}
	if len(ps.asked) == 0 {
		ps.toLogins(m)
		m.advance()
	}
}

func (ps *pairs) adopt(m *master, s pairSpec, c *redeemmsg.PairChecked) {
	if was := ps.use[s]; was != nil && m.authd.proc != nil {
		ps.old = append(ps.old, oldPair{was.Pair, time.Now()})
	}
	ps.use[s] = c
	left := time.Until(c.NotAfter)
	text := fmt.Sprintf("certificate %s: %s, valid until %s", s, c.Subject, c.NotAfter.UTC().Format(time.DateTime))
	switch {
	case left <= 0:
		m.log.Errorf("%s UTC: it has expired, clients will refuse it", text)
	case left < soonEnds:
		m.log.Warnf("%s UTC: %d days are left", text, int(left/(24*time.Hour)))
	default:
		m.log.Infof("%s UTC", text)
	}
}

// authGone: the next authd gets all pairs anew, under new numbers.
func (ps *pairs) authGone() {
	for _, a := range ps.asked {
		a.close()
	}
	clear(ps.asked)
	clear(ps.has)
	ps.old = nil
}

// toLogins sends the whole set to all login processes.
func (ps *pairs) toLogins(m *master) {
	for _, l := range m.logins.all {
		ps.send(m, l)
	}
}

// send sends the set to one login process.
func (ps *pairs) send(m *master, l *loginProc) {
	count := uint32(0)
	for _, s := range ps.specs(m.cfg.set) {
		c := ps.use[s]
		if c == nil {
			continue
		}
		msg := &handoffmsg.Certificate{Name: s.name, SPKI: c.SPKI, KeyType: c.KeyType, Chain: c.Chain}
		if s.name != "" {
			msg.Names = []string{s.name}
		}
		m.send(l.proc, msg, -1)
		count++
	}
	m.send(l.proc, &handoffmsg.CertificatesEnd{Count: count}, -1)
}

// tick forgets old pairs and rotates the keys of session tickets.
func (ps *pairs) tick(m *master, now time.Time) {
	for len(ps.old) > 0 && now.Sub(ps.old[0].from) > keepOldPair {
		m.send(m.authd.proc, &redeemmsg.PairDone{Pair: ps.old[0].id}, -1)
		ps.old = ps.old[1:]
	}
	if m.up && now.Sub(ps.rotated) > rotateTickets {
		ps.rotate(m, now)
	}
}

// reload passes the pairs that the old settings did not have, and tells login
// processes of those that are gone.
func (ps *pairs) reload(m *master, old *settings.Set) {
	had := map[pairSpec]bool{}
	for _, s := range ps.specs(old) {
		had[s] = true
	}
	fresh := false
	for _, s := range ps.specs(m.cfg.set) {
		if !had[s] {
			fresh = true
			ps.pass(m, s)
		}
		delete(had, s)
	}
	for s := range had {
		if c := ps.use[s]; c != nil {
			delete(ps.use, s)
			k := ps.kept[s]
			k.kept = false
			k.close()
			delete(ps.kept, s)
			ps.old = append(ps.old, oldPair{c.Pair, time.Now()})
		}
	}
	if len(had) > 0 && !fresh { // else when the new ones are checked
		ps.toLogins(m)
	}
}
