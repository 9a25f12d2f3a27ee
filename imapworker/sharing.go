package imapworker

import (
	"context"
	"slices"
	"sync"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/ipc/workermsg"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/others"
	"rookery/internal/mailstore/ownnotes"
	"rookery/internal/mailstore/remote"
	"rookery/internal/mailstore/remote/usable"
	"rookery/internal/mailstore/spaces"
	"rookery/internal/settings"
	"rookery/internal/worker"
)

const (
	// reachWithin is how long a session waits for another user's process to start.
	reachWithin = 30 * time.Second
	// answerWithin is how long a call may take the owner's process: a large COPY there.
	answerWithin = 2 * time.Minute
	// sharesWithin is how long LIST waits for the list of shares.
	sharesWithin = 10 * time.Second
	// reachAgain is how long an owner who could not be reached is left alone.
	reachAgain = 2 * time.Second
	// sharesAge is after what time the list of shares is asked for again though nobody
	// said that it changed.
	sharesAge = time.Minute
	// idleChannel is how long a channel that nobody uses stays. An open mailbox without
	// it is opened anew when it is used again.
	idleChannel = 10 * time.Minute
)

// asker asks master about other users: it is a worker.Host.
type asker interface {
	Reach(ctx context.Context, owner string) (fd int, err error)
	Shares(ctx context.Context) ([]workermsg.Shared, error)
}

// directory is the others.Directory of the process: the list of shares as it was told
// last, and a channel for each owner whose mail is used.
type directory struct {
	ask     asker
	now     func() time.Time
	changed func(owner string) // something of his changed
	note    func(text string)  // for the log

	asking sync.Mutex // one question for the list at a time
	mu     sync.Mutex
	list   []others.Share
	told   bool      // list holds
	asked  time.Time // when it was asked for
	owners map[string]*channel
	closed bool
}

// channel leads to one owner's process.
type channel struct {
	dialing sync.Mutex
	mu      sync.Mutex
	client  *remote.Client // nil: there is none
	used    time.Time
	failed  time.Time
	err     error // of failed
	idle    *time.Timer
}

func newDirectory(ask asker, changed func(owner string), note func(string)) *directory {
	return &directory{ask: ask, now: time.Now, changed: changed, note: note, owners: map[string]*channel{}}
}

// Shares is others.Directory's. Where the list cannot be had now the one from before
// goes on.
func (d *directory) Shares() ([]others.Share, error) {
	if list, ok := d.fresh(); ok {
		return list, nil
	}
	d.asking.Lock()
	defer d.asking.Unlock()
	if list, ok := d.fresh(); ok {
		return list, nil
	}
	d.mu.Lock()
	d.told = true // a change while the answer is under way makes it false again
	d.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), sharesWithin)
	defer cancel()
	shared, err := d.ask.Shares(ctx)
	d.mu.Lock()
	defer d.mu.Unlock()
	if err != nil {
		d.told = false
		if d.asked.IsZero() {
			return nil, err
		}
		d.note("the list of shares is that of " + d.asked.Format(time.TimeOnly) + ": " + err.Error())
		return d.list, nil
	}
	d.asked = d.now()
	if !slices.EqualFunc(d.list, shared, func(a others.Share, b workermsg.Shared) bool { return a == others.Share(b) }) {
		d.list = make([]others.Share, len(shared))
		for i, s := range shared {
			d.list[i] = others.Share(s)
		}
	}
	return d.list, nil
}

func (d *directory) fresh() ([]others.Share, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.list, d.told && d.now().Sub(d.asked) < sharesAge
}

// sharesChanged has the list asked for anew when it is needed.
func (d *directory) sharesChanged() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.told = false
}

// channel gives the one of an owner, which may lead nowhere yet.
func (d *directory) channel(owner string) (*channel, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, errkind.Newf("reach the owner", errkind.Unavailable, "the process is ending")
	}
	c := d.owners[owner]
	if c == nil {
		c = &channel{}
		d.owners[owner] = c
	}
	return c, nil
}

// Reach is others.Directory's.
func (d *directory) Reach(owner string) (mailstore.Sharer, error) {
	c, err := d.channel(owner)
	if err != nil {
		return nil, err
	}
	if store, err, known := c.known(d.now()); known {
		return store, err
	}
	c.dialing.Lock()
	defer c.dialing.Unlock()
	if store, err, known := c.known(d.now()); known {
		return store, err
	}
	client, err := d.dial(owner)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.failed, c.err = d.now(), err
		return nil, err
	}
	c.client, c.used, c.err = client, d.now(), nil
	if c.idle == nil {
		c.idle = time.AfterFunc(idleChannel, func() { c.rest(d.now()) })
	} else {
		c.idle.Reset(idleChannel)
	}
	return client, nil
}

// known gives the channel that works, or the error of a short while ago.
func (c *channel) known(now time.Time) (store mailstore.Sharer, err error, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.client != nil {
		select {
		case <-c.client.Done():
			c.client.Close()
			c.client = nil
		default:
			c.used = now
			return c.client, nil, true
		}
	}
	return nil, c.err, c.err != nil && now.Sub(c.failed) < reachAgain
}

// rest ends a channel that nobody has used for long.
func (c *channel) rest(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.client == nil {
		return
	}
	if left := idleChannel - now.Sub(c.used); left > 0 {
		c.idle.Reset(left)
		return
	}
	c.client.Close()
	c.client = nil
}

// dial makes a channel. Where a process has as many as it may, the one that was used
// the longest ago makes room.
func (d *directory) dial(owner string) (*remote.Client, error) {
	ctx, cancel := context.WithTimeout(context.Background(), reachWithin)
	defer cancel()
	fd, err := d.ask.Reach(ctx, owner)
	if errkind.Is(err, errkind.Limit) && d.drop(owner) {
		fd, err = d.ask.Reach(ctx, owner)
	}
	if err != nil {
		return nil, err
	}
	client, err := remote.NewClient(fd, remote.ClientOptions{Owner: owner, Changed: func() { d.changed(owner) },
		Timeout: answerWithin, Usable: usable.Fact})
	if err != nil {
		return nil, errkind.New("reach the owner", errkind.Unavailable, err)
	}
	return client, nil
}

// drop ends the channel that was used the longest ago; false: there is none but that
// of an owner who is dialled.
func (d *directory) drop(but string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	var oldest *channel
	var at time.Time
	for owner, c := range d.owners {
		c.mu.Lock()
		if owner != but && c.client != nil && (oldest == nil || c.used.Before(at)) {
			oldest, at = c, c.used
		}
		c.mu.Unlock()
	}
	if oldest == nil {
		return false
	}
	oldest.end()
	return true
}

func (c *channel) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.idle != nil {
		c.idle.Stop()
	}
	if c.client != nil {
		c.client.Close()
		c.client = nil
	}
}

// close ends all channels.
func (d *directory) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	for _, c := range d.owners {
		c.end()
	}
}

// foreign opens the namespaces of other users' mail. notes keeps what the user notes of it.
func foreign(host *worker.Host, dir others.Directory, notes others.Notes) (out []*others.Store, err error) {
	hidden := []string{host.User.User}
	for _, f := range host.Foreign() {
		if f.Namespace.Owner != "" {
			hidden = append(hidden, f.Namespace.Owner)
		}
	}
	for _, f := range host.Foreign() {
		opt := others.Options{Namespace: f.Namespace, Owner: f.Namespace.Owner, Hidden: hidden, Directory: dir, Notes: notes}
		if opt.Owner != "" {
			opt.Hidden = hidden[:1]
		}
		s, err := others.Open(opt)
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

// withOthers puts the namespaces of others' mail beside the user's own.
func (s *server) withOthers(own mailstore.Sharer) (mailstore.Store, error) {
	control, err := s.outside.control()
	if err != nil {
		return nil, err
	}
	set := s.host.Settings
	notes := ownnotes.New(control, "", mailstore.AnnotationLimits{Value: settings.IMAPMetadataMaxSize.Get(set), Entries: int(settings.IMAPMetadataMaxEntries.Get(set))})
	s.directory = newDirectory(s.outside, s.elsewhere, func(text string) { s.host.Log.Warnf("%s", text) })
	if s.abroad, err = foreign(s.host, s.directory, notes); err != nil {
		return nil, err
	}
	var spacesOf []mailstore.Sharer
	for _, o := range s.abroad {
		spacesOf = append(spacesOf, o)
	}
	return spaces.Extend(own, spacesOf...), nil
}

// elsewhere is called when something changed in another user's mail: those who have a
// mailbox of his selected hear it from the mailbox.
func (s *server) elsewhere(owner string) {
	for _, o := range s.abroad {
		o.Changed(owner)
	}
	s.wakeWatchers(nil)
}

// SharesChanged has the list of shares asked for anew, and sessions that watch look.
func (s *server) SharesChanged() {
	if s.directory != nil {
		s.directory.sharesChanged()
		s.wakeWatchers(nil)
	}
}
