package imapmodel

import (
	"context"
	"strings"
	"sync"

	"rookery/internal/acl"
	"rookery/internal/ipc"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/annotation"
	"rookery/internal/mailstore/guarded"
	"rookery/internal/mailstore/memstore"
	"rookery/internal/mailstore/others"
	"rookery/internal/mailstore/ownnotes"
	"rookery/internal/mailstore/remote"
	"rookery/internal/mailstore/spaces"
)

// sharing is how bob gets to ann's mail.
type sharing uint8

const (
	byNames     sharing = iota // her mail alone, under her names
	byNamespace                // beside his own, in a namespace
	byChannel                  // and her process is another one
	byPublic                   // it is a system owner's, in a public namespace
	apart                      // in a namespace with seen = "private"
	apartByChannel
	ways // how many there are
)

// wide reports whether anyone may be given rights (imap_acl_allow_anyone).
func (how sharing) wide() bool { return how != byNames }

// split reports whether bob's \Seen is his own.
func (how sharing) split() bool { return how == apart || how == apartByChannel }

// channel reports whether ann's process is another one.
func (how sharing) channel() bool { return how == byChannel || how == apartByChannel }

// abroad is the prefix of ann's mailboxes in bob's names.
func (how sharing) abroad() string {
	if how == byPublic {
		return "Public/"
	}
	return "Other Users/ann/"
}

// place is where a name that a client uses leads to.
type place struct {
	wire string // the client's name, with '/'
	of   *truth
	name string // the owner's own
	role int
}

// where finds the place of a client's name.
func (c *conn) where(name string) place {
	switch rest, is := strings.CutPrefix(name, c.w.sharing.abroad()); {
	case c.user == ann:
		return place{name, c.w.mail[ann], name, owner}
	case c.w.sharing == byNames:
		return place{name, c.w.mail[ann], name, guest}
	case is:
		return place{name, c.w.mail[ann], rest, guest}
	}
	return place{name, c.w.mail[bob], name, owner}
}

// name chooses a name for a client's mailbox.
func (c *conn) name(n uint32) string {
	name := names[int(n)%len(names)]
	if c.user == bob && c.w.sharing != byNames && n/16%4 > 0 {
		return c.w.sharing.abroad() + name
	}
	return name
}

// find gives the mailbox that the client knows by a name, nil for none.
func (c *conn) find(name string) *mailbox {
	at := c.where(name)
	return at.of.box(at.role, at.name)
}

// nameOf gives the client's name of a mailbox that is there.
func (c *conn) nameOf(b *mailbox) (name string, ok bool) {
	if name = b.name; b.of.user != c.user && c.w.sharing != byNames {
		name = c.w.sharing.abroad() + name
	}
	return name, c.find(name) == b
}

func (c *conn) implied(name string) bool {
	at := c.where(name)
	return at.of.implied(at.role, at.name)
}

// may gives the user's rights on a mailbox.
func (c *conn) may(b *mailbox) string {
	if b.of.user == c.user {
		return b.may(owner)
	}
	return b.may(guest)
}

// side is that from which the client sees a mailbox.
func (c *conn) side(b *mailbox) int {
	if b != nil && b.of.split && c.user == bob {
		return private
	}
	return common
}

// now gives what a message of the selected mailbox is for the client.
func (c *conn) now(m *message) *version { return m.now(c.side(c.box)) }

// flag gives a message of the selected mailbox flags, as the client sees them.
func (c *conn) flag(m *message, flags string) { c.box.set(c.side(c.box), m, flags) }

// kept are those of flags that come with a message into a mailbox.
func (c *conn) kept(to *mailbox, flags string) string {
	if c.side(to) == private {
		flags = withSeen(flags, false) // a shared \Seen is everybody else's
	}
	return allowed(c.may(to), flags)
}

// open reports whether the user can keep a mailbox selected.
func (c *conn) open(b *mailbox) bool { return !b.gone && strings.Contains(c.may(b), "r") }

// visible are the names of all mailboxes that the user may know of, as he has them.
func (c *conn) visible() (out []string) {
	for _, t := range c.w.mail {
		if c.user == ann && t.user == bob || c.w.sharing == byNames && t.user == bob {
			continue
		}
		for _, name := range t.names() {
			if c.may(t.boxes[name]) == "" {
				continue
			}
			if t.user != c.user && c.w.sharing != byNames {
				name = c.w.sharing.abroad() + name
			}
			out = append(out, name)
		}
	}
	return out
}

// share joins what each user's sessions have.
func (w *world) share() {
	w.stores[ann], w.stores[bob] = w.worker.guard[ann], w.worker.guard[bob]
	if w.reach == nil {
		w.reach = &directory{w: w}
	}
	if w.sharing == byNames {
		return
	}
	if w.own == nil {
		own := memstore.New(memstore.Options{Now: w.clock.Now, Separator: w.worker.store.Namespaces()[0].Separator, FirstGUID: 1 << 20})
		w.must(w.disk.Mkdir("bob", 0o700))
		w.own = annotation.Wrap(own, annotation.Options{FS: w.disk, Dir: "bob"})
		guard, _ := guarded.Wrap(w.own, guarded.Options{Who: acl.Who{User: "bob", Owner: true}, Owner: "bob"})
		foreign, err := others.Open(w.foreignSpace(own.Namespaces()[0].Separator))
		w.must(err)
		w.reach.joined = spaces.Extend(guard, foreign)
	}
	w.stores[bob] = w.reach.joined
}

// foreignSpace is the namespace that bob has ann's mail in.
func (w *world) foreignSpace(sep byte) others.Options {
	opt := others.Options{Directory: w.reach, Hidden: []string{"bob"}, Notes: ownnotes.New(w.disk, "bob", mailstore.AnnotationLimits{}),
		Namespace: mailstore.Namespace{Kind: mailstore.OtherUsers, Prefix: "Other Users" + string(rune(sep)), Separator: sep, List: true}}
	if w.sharing == byPublic {
		opt.Owner, opt.Namespace.Kind, opt.Namespace.Prefix = "ann", mailstore.Shared, "Public"+string(rune(sep))
	}
	return opt
}

// directory is bob's: ann alone shares something.
type directory struct {
	w      *world
	joined mailstore.Store

	mu     sync.Mutex
	client *remote.Client // nil without a channel
	cancel context.CancelFunc
	served sync.WaitGroup
	wake   chan struct{}
}

// Shares is for others.Directory.
func (d *directory) Shares() ([]others.Share, error) {
	list, err := d.w.worker.guard[bob].List()
	var out []others.Share
	for _, f := range list {
		if f.Attrs&(mailstore.NoSelect|mailstore.NonExistent) == 0 {
			out = append(out, others.Share{Owner: "ann", Name: f.Name})
		}
	}
	return out, err
}

// Reach is for others.Directory.
func (d *directory) Reach(string) (mailstore.Sharer, error) {
	guard := d.w.worker.guard[bob].(mailstore.Sharer)
	if !d.w.sharing.channel() {
		return guard, nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.client != nil {
		select {
		case <-d.client.Done():
		default:
			return d.client, nil
		}
	}
	near, far, err := ipc.Pair()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	d.wake = make(chan struct{}, 1)
	wake := d.wake
	d.served.Go(func() { _ = remote.Serve(ctx, far, guard, remote.ServeOptions{Wake: wake}) })
	d.cancel = cancel
	d.client, err = remote.NewClient(near, remote.ClientOptions{Owner: "ann"})
	return d.client, err
}

// told wakes who serves bob.
func (d *directory) told() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// lose ends the channel, as the end of ann's worker does.
func (d *directory) lose() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.client != nil {
		_ = d.client.Close()
		d.cancel()
		d.served.Wait()
		d.client = nil
	}
}
