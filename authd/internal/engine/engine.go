package engine

import (
	"crypto/rand"
	"hash/maphash"
	mrand "math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"rookery/authd/internal/delay"
	"rookery/authd/internal/hashpool"
	"rookery/authd/internal/signer"
	"rookery/authd/internal/ticket"
	"rookery/internal/maillog"
)

// Engine is the shared state of all channels. It is safe for concurrent use.
//
// Locks: a client's mutex is never held while another lock is taken.
type Engine struct {
	logger    *maillog.Logger
	now       func() time.Time
	config    atomic.Pointer[Config]
	pool      *hashpool.Pool
	queue     *delay.Queue
	penalties *delay.Penalties
	tickets   *ticket.Table
	keys      *signer.Keys
	dummy     dummy
	fakeKey   []byte       // makes up SCRAM salts; lives as long as the process
	attempts  maphash.Seed // hashes attempts for the penalty
	hostname  string

	debugMu     sync.Mutex
	debugText   string // log_debug at run time
	debugConfig string // log_debug of the settings
}

// New makes an engine. hostname stands in challenges.
func New(log *maillog.Logger, now func() time.Time, cfg *Config, pool *hashpool.Pool, keys *signer.Keys, hostname string) *Engine {
	e := &Engine{logger: log, now: now, pool: pool, queue: delay.NewQueue(), penalties: delay.NewPenalties(),
		tickets: ticket.NewTable(), keys: keys, fakeKey: make([]byte, 32), attempts: maphash.MakeSeed(), hostname: hostname}
	rand.Read(e.fakeKey)
	if e.hostname == "" {
		e.hostname = "localhost"
	}
	e.Configure(cfg)
	return e
}

// Configure puts settings into use for exchanges that begin from now on.
func (e *Engine) Configure(cfg *Config) {
	cfg.Normalise()
	e.config.Store(cfg)
	e.setDebug()
}

// LogDebug takes log_debug's filter of the running server; "" ends it. The
// error names the bad term.
func (e *Engine) LogDebug(filter string) error {
	if _, err := maillog.ParseFilter(filter); err != nil {
		return err
	}
	e.debugMu.Lock()
	e.debugText = filter
	e.debugMu.Unlock()
	e.setDebug()
	return nil
}

// LogDebugSetting takes the filter of the settings, beside that of LogDebug.
func (e *Engine) LogDebugSetting(filter string) error {
	if _, err := maillog.ParseFilter(filter); err != nil {
		return err
	}
	e.debugMu.Lock()
	e.debugConfig = filter
	e.debugMu.Unlock()
	e.setDebug()
	return nil
}

func (e *Engine) setDebug() {
	if e.config.Load().Debug {
		e.logger.SetDebug(maillog.Everything())
		return
	}
	e.debugMu.Lock()
	defer e.debugMu.Unlock()
	f, err := maillog.ParseFilter(e.debugConfig + " " + e.debugText)
	if err != nil { // each was checked alone; together they may have too many terms
		e.logger.Warnf("log_debug: %v", err)
		return
	}
	e.logger.SetDebug(f)
}

// Close answers what is held back.
func (e *Engine) Close() { e.queue.Close() }

// internalDelay is auth_internal_failure_delay with up to half of it on top, so
// that clients do not come back all at once.
func internalDelay(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return d + time.Duration(mrand.Int64N(int64(d)/2+1))
}

// attemptHash names user and password together for the penalty, under a key
// that dies with the process. 0 is never given.
func (e *Engine) attemptHash(user string, password []byte) uint64 {
	var h maphash.Hash
	h.SetSeed(e.attempts)
	h.WriteString(user)
	h.WriteByte(0)
	h.Write(password)
	return h.Sum64() | 1
}

func ipText(a netip.AddrPort) string {
	if !a.IsValid() {
		return ""
	}
	return a.Addr().Unmap().WithZone("").String()
}
