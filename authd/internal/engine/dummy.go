package engine

import (
	"crypto/rand"
	"sync"

	"rookery/authd/internal/passhash"
)

// dummy makes an unknown user cost what a known one costs: it keeps one stored
// secret of each scheme that was met and gives one of the scheme met most.
type dummy struct {
	mu    sync.Mutex
	seen  map[string]*met
	made  passhash.Stored
	scram passhash.SCRAM // the last stored verifier's shape
}

type met struct {
	count  int
	stored passhash.Stored
}

// saw counts a secret of a known user.
func (d *dummy) saw(s passhash.Stored) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.seen == nil {
		d.seen = map[string]*met{}
	}
	m := d.seen[s.Name()]
	if m == nil {
		m = &met{} // there are as many as schemes
		d.seen[s.Name()] = m
	}
	m.count++
	m.stored = s
}

// pick gives a secret to compare in vain. def is the scheme to make one of
// when no secret has been met.
func (d *dummy) pick(def string) passhash.Stored {
	d.mu.Lock()
	defer d.mu.Unlock()
	best := &met{}
	for _, m := range d.seen {
		if m.count > best.count {
			best = m
		}
	}
	if best.count > 0 {
		return best.stored
	}
	if !d.made.Valid() {
		password := make([]byte, 16)
		rand.Read(password)
		text, err := passhash.Hash(def, passhash.Gen{User: "nobody", Password: password, Rand: rand.Reader})
		if err != nil {
			text = "{PLAIN}" + string(password)
		}
		d.made, _ = passhash.Parse(text, def, true)
	}
	return d.made
}

// sawSCRAM remembers how many iterations stored verifiers have.
func (d *dummy) sawSCRAM(v passhash.SCRAM) {
	d.mu.Lock()
	d.scram = v
	d.mu.Unlock()
}

// iterations is what a made-up verifier says.
func (d *dummy) iterations() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.scram.Iterations > 0 {
		return d.scram.Iterations
	}
	return 4096
}
