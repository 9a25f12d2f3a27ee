package engine

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"rookery/authd/internal/sasl"
	"rookery/authd/internal/signer"
	"rookery/internal/errkind"
	"rookery/internal/ipc"
	"rookery/internal/ipc/authmsg"
)

// maxExchanges bounds the authentications of one channel that are under way or
// whose answer is held back.
const maxExchanges = 4096

// Client is one channel of a login process.
type Client struct {
	e       *Engine
	channel uint64
	kind    string
	send    func(ipc.Message) error
	apop    apopStamps

	mu        sync.Mutex
	exchanges map[uint64]*exchange
	lastID    uint64
	closed    bool
	wg        sync.WaitGroup
}

// Attach begins to serve a channel. channel is master's never-reused number of
// it, kind what it is for ("login"). send must not block.
func (e *Engine) Attach(channel uint64, kind string, send func(ipc.Message) error) *Client {
	c := &Client{e: e, channel: channel, kind: kind, send: send, exchanges: map[uint64]*exchange{}}
	var b [8]byte
	rand.Read(b[:])
	c.apop.prefix = hex.EncodeToString(b[:])
	return c
}

// Welcome is the channel's first message, and is sent again after new settings.
func (c *Client) Welcome() *authmsg.Welcome {
	cfg := c.e.config.Load()
	w := &authmsg.Welcome{APOPPrefix: c.apop.prefix}
	for _, i := range sasl.Mechanisms() {
		if cfg.offers(i.Name) {
			w.Mechanisms = append(w.Mechanisms, authmsg.Mechanism{Name: i.Name, Plaintext: i.Plaintext, Private: i.Private})
		}
	}
	return w
}

// ErrProtocol means that the login process broke the channel's rules: close it.
var ErrProtocol = errors.New("login broke the auth channel's rules")

// Handle takes one message. Its error is ErrProtocol with the reason.
func (c *Client) Handle(m ipc.Message) error {
	switch m := m.(type) {
	case *authmsg.Begin:
		return c.begin(m)
	case *authmsg.Continue:
		c.mu.Lock()
		x := c.exchanges[m.ID]
		c.mu.Unlock()
		if x == nil { // an answer crossed it
			m.Response.Wipe()
			return nil
		}
		if !x.deliver(m.Response) {
			return fmt.Errorf("%w: a response that nobody asked for", ErrProtocol)
		}
	case *authmsg.Cancel:
		c.mu.Lock()
		x := c.exchanges[m.ID]
		delete(c.exchanges, m.ID)
		c.mu.Unlock()
		if x != nil {
			x.cancel()
		}
	case *authmsg.Sign:
		c.sign(m)
	default:
		return fmt.Errorf("%w: unexpected %T", ErrProtocol, m)
	}
	return nil
}

func (c *Client) begin(m *authmsg.Begin) error {
	c.mu.Lock()
	if m.ID <= c.lastID {
		c.mu.Unlock()
		return fmt.Errorf("%w: request number %d after %d", ErrProtocol, m.ID, c.lastID)
	}
	c.lastID = m.ID
	full := len(c.exchanges) >= maxExchanges
	x := newExchange(c, m)
	if !full && !c.closed {
		c.exchanges[m.ID] = x
		c.wg.Add(1)
	}
	closed := c.closed
	c.mu.Unlock()
	switch {
	case closed:
	case full:
		return c.send(&authmsg.Refused{ID: m.ID, Kind: errkind.Unavailable})
	default:
		go func() {
			defer c.wg.Done()
			x.run(m)
		}()
	}
	return nil
}

// finish sends the last answer of an exchange, if there is one, unless it was cancelled.
func (c *Client) finish(x *exchange, m ipc.Message) {
	c.mu.Lock()
	live := c.exchanges[x.id] == x
	delete(c.exchanges, x.id)
	c.mu.Unlock()
	if live && m != nil {
		c.reply(m)
	}
}

// reply sends; a peer that does not read is found by its channel's reader.
func (c *Client) reply(m ipc.Message) {
	if err := c.send(m); err != nil && c.e.logger.Debugging("", "") {
		c.e.logger.Debugf("auth channel %d: %v", c.channel, err)
	}
}

// signing is bounded by the channel's reader, which handles one message after
// another: a key operation takes a millisecond at most.
func (c *Client) sign(m *authmsg.Sign) {
	sig, err := c.e.keys.Sign(signer.SPKI(m.SPKI), m.Scheme, m.Content)
	if err != nil {
		c.e.logger.Errorf("auth channel %d: refused to sign for key %x with scheme 0x%04x: %v", c.channel, m.SPKI[:8], m.Scheme, err)
	}
	c.reply(&authmsg.Signed{ID: m.ID, Signature: sig})
}

// Close ends all exchanges of the channel and waits for them.
func (c *Client) Close() {
	c.mu.Lock()
	c.closed = true
	for id, x := range c.exchanges {
		x.cancel()
		delete(c.exchanges, id)
	}
	c.mu.Unlock()
	c.wg.Wait()
}

// apopStamps tells whether an APOP timestamp was made by this channel's login
// process (RFC 1939 §7) and is not another session's. A session may try again
// with its own until it has succeeded.
type apopStamps struct {
	prefix string
	mu     sync.Mutex
	used   map[uint64]string // counter to session; "" after a success
	newest uint64
}

const (
	apopWindow = 1 << 14          // counters older than the newest by this are refused
	apopMaxAge = 70 * time.Minute // login_timeout is an hour at most
)

func (a *apopStamps) check(stamp, session string, now time.Time) bool {
	counter, ok := a.parse(stamp, now)
	if !ok || session == "" {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.used == nil {
		a.used = map[uint64]string{}
	}
	if owner, seen := a.used[counter]; seen {
		return owner == session
	}
	if a.newest >= apopWindow && counter <= a.newest-apopWindow || counter > a.newest+1<<32 {
		return false
	}
	if counter > a.newest {
		a.newest = counter
	}
	a.used[counter] = session
	if len(a.used) > 2*apopWindow {
		for n := range a.used {
			if a.newest >= apopWindow && n <= a.newest-apopWindow {
				delete(a.used, n)
			}
		}
	}
	return true
}

// spent makes a timestamp worthless: it has let somebody in.
func (a *apopStamps) spent(stamp string, now time.Time) {
	if counter, ok := a.parse(stamp, now); ok {
		a.mu.Lock()
		a.used[counter] = ""
		a.mu.Unlock()
	}
}

// parse reads "<prefix.counter.unix-seconds@host>".
func (a *apopStamps) parse(stamp string, now time.Time) (uint64, bool) {
	rest, ok := strings.CutPrefix(stamp, "<"+a.prefix+".")
	if !ok || !strings.HasSuffix(rest, ">") || len(stamp) > 512 {
		return 0, false
	}
	num, rest, ok := strings.Cut(rest, ".")
	sec, _, ok2 := strings.Cut(rest, "@")
	counter, err := strconv.ParseUint(num, 10, 64)
	unix, err2 := strconv.ParseInt(sec, 10, 64)
	if !ok || !ok2 || err != nil || err2 != nil {
		return 0, false
	}
	age := now.Sub(time.Unix(unix, 0))
	return counter, age < apopMaxAge && age > -time.Minute
}
