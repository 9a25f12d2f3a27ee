package journal

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/vfs"
)

// Names of the files, in Options.Dir.
const (
	FileName  = "rookery-journal"
	UsersName = "rookery-journal-users" // empty; who has the journal open holds a shared lock on it
	newName   = "rookery-journal.new"   // while the journal is made
)

// Options say where the journal lies and who settles its records.
type Options struct {
	FS       vfs.FS
	Dir      string      // the user's control directory, "" for the root of FS; it must be there
	FileMode fs.FileMode // of the files; 0 is 0600
	BootID   string      // "" is FS.BootID()
	// Checkpoint makes the effects of records certain; see the package's comment.
	// nil is for journals that hold no effects.
	Checkpoint func([]Record) error
	Note       func(string)  // told what an operator should know, one line each; may be nil
	LockWait   time.Duration // the longest wait for another process or for room; 0 is 30 s
	Soon       time.Duration // 0 is 700 ms, which leaves time for the sync itself
	// Manual leaves out everything in the background: Soon records are written by
	// Flush, Close or the next Now, and checkpoints are made by whoever finds no
	// room, or by Checkpoint. For short-lived tools and tests. Who appends must then
	// hold no lock that the callback needs.
	Manual bool
}

// Journal is an open journal. Its methods may be called from several goroutines.
type Journal struct {
	o     Options
	boot  string
	owner uint64
	users vfs.File

	cp sync.Mutex // one checkpoint at a time; before io
	io sync.Mutex // the file and all of state; before mu
	state

	recovered atomic.Bool  // Recover is done
	made      atomic.Bool  // there is a file, or there was until a sync failed
	isPending atomic.Int64 // bytes of what is pending

	segmentBufs sync.Pool // *[segmentSize]byte, for checkpoints

	mu            sync.Mutex
	led           *sync.Cond // on mu: a leader has written, or gives up the lead
	leader        bool       // somebody writes for all who wait
	queue         []*Ticket  // in the order of Append
	inflight      map[*Ticket]bool
	timer         *time.Timer   // of Soon records, while some wait
	soonPause     time.Duration // until the next try, after an error
	room          chan struct{}
	waiting       int
	stuck         bool // the last checkpoint failed, and not for what passes
	checkpointing bool
	closed        bool
	work          sync.WaitGroup
}

// state is what is known of the file; Journal.io guards it.
type state struct {
	file               vfs.File // nil until there is one
	inode              [2]uint64
	nonce              nonce
	cycle              uint64 // where the next batch goes
	block              int
	nextSeq, nextID    uint64
	liveCycle, liveSeq uint64
	synced             uint64
	starts             [segments]uint64 // by segment: sequence number of its cycle's first batch
	pending            map[uint64]*Record
	lastClean          bool // the newest batch is a clean mark

	alone    bool // no other process has the journal; until Recover is done
	wasClean bool
	unsynced []*Ticket // written, but not known to be on disk
	ownSeqs  []uint64  // their batches
	voids    []uint64  // batches of ours that failed
	broken   error     // the last sync failed, and nothing has mended it yet
}

func (o *Options) fill() {
	if o.FileMode == 0 {
		o.FileMode = 0o600
	}
	if o.BootID == "" {
		o.BootID = o.FS.BootID()
	}
	if len(o.BootID) > maxBoot {
		sum := sha256.Sum256([]byte(o.BootID))
		o.BootID = hex.EncodeToString(sum[:])
	}
	if o.LockWait == 0 {
		o.LockWait = 30 * time.Second
	}
	if o.Soon == 0 {
		o.Soon = 700 * time.Millisecond
	}
	if o.Note == nil {
		o.Note = func(string) {}
	}
}

// Open opens the user's journal, or what will be one at the first Append. It
// waits while another process recovers. errkind.Unavailable: the file system has
// no locks between processes, and there can be no journal. Recover must follow.
func Open(o Options) (*Journal, error) {
	o.fill()
	j := &Journal{o: o, boot: o.BootID, inflight: map[*Ticket]bool{}, room: make(chan struct{})}
	j.led = sync.NewCond(&j.mu)
	var b [8]byte
	rand.Read(b[:])
	j.owner = le.Uint64(b[:])
	if err := j.enter(); err != nil {
		return nil, err
	}
	j.io.Lock()
	defer j.io.Unlock()
	if err := j.openFile(); err != nil && !errors.Is(err, fs.ErrNotExist) {
		j.drop()
		return nil, failed("open journal", err)
	}
	return j, nil
}

// enter takes the users' lock: alone if nobody has it, else shared.
func (j *Journal) enter() error {
	users, err := j.o.FS.OpenFile(j.path(UsersName), vfs.Read|vfs.Write|vfs.Create, j.o.FileMode)
	if err != nil {
		return failed("open journal", err)
	}
	end, pause := time.Now().Add(j.o.LockWait), time.Millisecond
	for {
		err = users.Lock(true, 0)
		if err == nil {
			j.alone = true
			break
		}
		if !errkind.Is(err, errkind.InUse) {
			users.Close()
			return errkind.New("lock journal", errkind.Unavailable, err)
		}
		// Others have it: beside them, or, while one of them recovers, after it. If
		// it dies at that, we are the ones to recover.
		if err = users.Lock(false, 0); err == nil {
			break
		}
		if time.Now().After(end) {
			users.Close()
			return errkind.New("lock journal", errkind.InUse, err)
		}
		time.Sleep(pause)
		pause = min(2*pause, 20*time.Millisecond)
	}
	j.users = users
	return nil
}

func (j *Journal) path(name string) string {
	if j.o.Dir == "" || j.o.Dir == "." {
		return name
	}
	return j.o.Dir + "/" + name
}

// Clean reports whether the journal was closed cleanly before this Open, or has
// never been there. It means nothing where another process had it open.
func (j *Journal) Clean() bool { j.io.Lock(); defer j.io.Unlock(); return j.wasClean }

// Alone reports whether this process had the journal alone when it opened it,
// so that Recover is its task.
func (j *Journal) Alone() bool { j.io.Lock(); defer j.io.Unlock(); return j.alone }

// Close writes what waits, makes everything certain and leaves a clean mark if
// no other process has the journal, and gives it up. The callback must still
// work. An error means that the next Open has something to recover, not that
// anything is lost.
func (j *Journal) Close() error {
	j.mu.Lock()
	if j.closed {
		j.mu.Unlock()
		return nil
	}
	j.closed = true
	if j.timer != nil && j.timer.Stop() {
		j.timer = nil
		j.work.Done()
	}
	j.mu.Unlock()
	j.work.Wait()
	err := j.Flush()
	// What was not recovered must not be marked as settled.
	if err == nil && j.recovered.Load() && j.users.Lock(true, 0) == nil {
		err = j.checkpoint(settleAll)
	}
	j.io.Lock()
	defer j.io.Unlock()
	j.drop()
	return err
}

// drop closes the files; io is held.
func (j *Journal) drop() {
	if j.file != nil {
		j.file.Close()
		j.file = nil
	}
	j.users.Close()
}

// failed gives an error of the disk its kind.
func failed(op string, err error) error {
	var known *errkind.Error
	var no syscall.Errno
	kind := errkind.IO
	switch {
	case err == nil:
		return nil
	case errors.As(err, &known):
		return errkind.Wrap(op, err)
	case errors.Is(err, fs.ErrNotExist):
		kind = errkind.NotFound
	case errors.Is(err, fs.ErrPermission):
		kind = errkind.NoPermission
	case errors.As(err, &no):
		switch no {
		case syscall.ENOSPC, syscall.EDQUOT:
			kind = errkind.NoSpace
		case syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM:
			kind = errkind.TooMany
		case syscall.EROFS:
			kind = errkind.ReadOnly
		}
	}
	return errkind.New(op, kind, err)
}
