package robust

import (
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"sync"
	"syscall"
	"testing"
	"time"

	"rookery/internal/e2e/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

const (
	killUsers = 50
	probes    = 4 // users whom nothing but the probe touches
)

// duration is how long the kill test runs.
func duration() time.Duration {
	switch {
	case os.Getenv("ROOKERY_SOAK") != "":
		return 15 * time.Minute
	case testing.Short():
		return 12 * time.Second
	}
	return time.Minute
}

// TestKills: 200 sessions of 50 users work while each second a process of the
// server is killed. No acknowledged change may be lost, nothing may be there
// twice, no UID may name two messages, nobody may see another's mail.
func TestKills(t *testing.T) {
	d := harness.Start(t, "--users", fmt.Sprint(killUsers+probes), "--empty")
	r := &run{d: d, ended: make(chan struct{})}
	models := make([]*model, killUsers)
	var actors sync.WaitGroup
	for u := range killUsers {
		models[u] = newModel(fmt.Sprintf("u%d@example.test", u+1))
		for k, service := range []string{"imap", "imaps", "imap"} {
			w := &writer{run: r, m: models[u], service: service, user: models[u].owner, name: fmt.Sprintf("w%d", k)}
			actors.Go(w.act)
		}
		p := &popper{run: r, m: models[u], service: []string{"pop3", "pop3s"}[u%2], user: u + 1, name: "p"}
		actors.Go(p.act)
	}
	master := d.Status().PID
	k := &killer{run: r, t: t, killed: map[string]int{}}
	k.work(duration())
	close(r.ended)
	actors.Wait()
	t.Logf("%d acknowledged changes, %d messages read, %d connections lost, killed %v, slowest return %v",
		r.ops.Load(), r.reads.Load(), r.lost.Load(), k.killed, k.slowest)
	if got := d.Status().PID; got != master {
		t.Errorf("master was %d and is %d", master, got)
	}
	for len(complaints) > 0 {
		t.Error(<-complaints)
	}
	if r.ops.Load() < 100 || r.reads.Load() < 100 || r.lost.Load() == 0 {
		t.Error("that was too little to prove anything")
	}
	verify(t, d, models, "after the kills")
	d.NoCrash(t)
	d.Stop()
	d.Start()
	verify(t, d, models, "after a restart")
}

// killer kills processes and probes.
type killer struct {
	*run
	t       *testing.T
	killed  map[string]int
	slowest time.Duration
}

func (k *killer) work(during time.Duration) {
	time.Sleep(2 * time.Second) // let all log in
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var probing sync.WaitGroup
	var mu sync.Mutex
	n := 0
	for end := time.Now().Add(during); time.Now().Before(end); <-tick.C {
		role := k.kill()
		if role == "" {
			continue
		}
		n++
		user := killUsers + 1 + n%probes
		service := []string{"imap", "pop3s", "imaps", "pop3"}[n%4]
		probing.Go(func() {
			took, err := k.probe(service, fmt.Sprintf("u%d", user))
			mu.Lock()
			defer mu.Unlock()
			k.slowest = max(k.slowest, took)
			if took > 3*time.Second {
				k.t.Errorf("after a %s was killed, %s is back after %v only: %v", role, service, took, err)
			}
		})
	}
	probing.Wait()
}

// kill ends one process of a random role, and gives the role.
func (k *killer) kill() string {
	status, err := k.d.TryStatus()
	if err != nil {
		k.t.Errorf("status: %v", err)
		return ""
	}
	role := []string{"login", "authd", "logd", "imapworker", "imapworker", "pop3worker"}[rand.IntN(6)]
	list := status.Of(role)
	if len(list) == 0 {
		return ""
	}
	p := list[rand.IntN(len(list))]
	for n := killUsers + 1; n <= killUsers+probes; n++ {
		if p.User == fmt.Sprintf("u%d@example.test", n) {
			return ""
		}
	}
	if err := syscall.Kill(p.PID, syscall.SIGKILL); err != nil {
		return ""
	}
	k.killed[role]++
	return role
}

// probe tries to log in until it succeeds, and tells how long that took.
func (k *killer) probe(service, user string) (time.Duration, error) {
	began := time.Now()
	var last error
	for time.Since(began) < 15*time.Second {
		c, err := login(k.d, service, user)
		if err == nil {
			c.Close()
			return time.Since(began), last
		}
		last = err
		time.Sleep(20 * time.Millisecond)
	}
	return time.Since(began), last
}

// verify reads all mail of all users and compares.
func verify(t *testing.T, d *harness.Demo, models []*model, when string) {
	t.Helper()
	var all sync.WaitGroup
	places := make(chan struct{}, 8)
	for _, m := range models {
		all.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			have, err := inventory(d, m)
			if err != nil {
				m.complain("%v", err)
				return
			}
			m.compare(have)
		})
	}
	all.Wait()
	for _, m := range models {
		for _, w := range m.wrong {
			t.Errorf("%s: %s", when, w)
		}
		m.wrong = nil
	}
}

var listName = regexp.MustCompile(`^\* LIST \([^)]*\) "[^"]*" "?([^"]+)"?$`)

// inventory reads everything a user has.
func inventory(d *harness.Demo, m *model) (map[string]found, error) {
	c, err := login(d, "imap", m.owner)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	s := &imap{c: c, m: m, r: &run{d: d, ended: make(chan struct{})}}
	lines, err := s.command(`LIST "" *`)
	if err != nil {
		return nil, err
	}
	have := map[string]found{}
	for _, line := range lines {
		g := listName.FindStringSubmatch(line)
		if g == nil {
			continue
		}
		if err := s.choose(g[1]); err != nil {
			return nil, err
		}
		f := found{s.validity, map[string][]fetched{}}
		messages, err := s.command("UID FETCH 1:* (UID FLAGS BODY.PEEK[])")
		if err != nil {
			return nil, err
		}
		for _, text := range messages {
			if msg, ok := parseFetch(text); ok && msg.body != "" {
				id := m.check(msg.body)
				f.box[id] = append(f.box[id], msg)
			}
		}
		have[g[1]] = f
	}
	_, err = s.command("LOGOUT")
	return have, err
}
