// Package errkind gives every error that crosses a layer a kind, an operation
// and a cause.
//
// Two audiences read an error: the client reads the kind, put into its
// protocol's words by one function per protocol; the operator reads the whole
// text, paths included. Storage therefore never needs to know IMAP, and a
// client never sees a path.
//
// Everybody may use it. It must never know a protocol.
package errkind

import "errors"

// Kind is a closed list. Numbers cross channels: add at the end, never reuse.
type Kind uint8

// The kinds. The comment names the answer of IMAP (RFC 5530) and of POP3.
const (
	Other        Kind = iota // a bug of ours or an unknown cause: [SERVERBUG], [SYS/PERM]
	NotFound                 // [NONEXISTENT]
	Exists                   // [ALREADYEXISTS]
	NoPermission             // [NOPERM]
	OverQuota                // the user's quota: [OVERQUOTA]
	NoSpace                  // the disk is full (ENOSPC, EDQUOT): [OVERQUOTA]-class, text says the disk
	Limit                    // a configured limit: [LIMIT]
	TooBig                   // a message or literal is too large: [TOOBIG]
	InUse                    // locked by another: [INUSE], [IN-USE]
	Invalid                  // the argument can't be: [CANNOT]
	Corrupt                  // stored data contradicts itself: [CORRUPTION]
	Unavailable              // try again later (a backend is down): [UNAVAILABLE], [SYS/TEMP]
	Expunged                 // the message is gone: [EXPUNGEISSUED]
	AuthFailed               // wrong credentials: [AUTHENTICATIONFAILED], [AUTH]
	AuthzFailed              // right credentials, may not log in: [AUTHORIZATIONFAILED]
	Expired                  // credentials have expired: [EXPIRED]
	Privacy                  // needs a secured connection: [PRIVACYREQUIRED]
	ContactAdmin             // only an administrator can help: [CONTACTADMIN]
	ReadOnly                 // the mailbox is open read-only: [READ-ONLY]-class NO
	IO                       // the disk reported an error (EIO): [SERVERBUG], [SYS/PERM]
	TooMany                  // EMFILE, ENFILE, no memory: [UNAVAILABLE], [SYS/TEMP]
	lastKind
)

var names = [...]string{"internal error", "not found", "exists", "permission denied", "over quota", "disk full",
	"limit reached", "too big", "in use", "invalid", "corrupt", "unavailable", "expunged", "authentication failed",
	"authorization failed", "expired", "privacy required", "contact administrator", "read-only", "disk error", "too many open"}

// String gives the kind's words for logs.
func (k Kind) String() string {
	if k >= lastKind {
		return "unknown kind"
	}
	return names[k]
}

// Valid reports whether k is a kind of this build (channels check it).
func (k Kind) Valid() bool { return k < lastKind }

// Error is an error with its kind and the operation that failed.
type Error struct {
	Op   string // what was tried: "append", "rename"; lower case
	Kind Kind
	Err  error // the cause, may be nil
}

// New makes an Error. cause may be nil.
func New(op string, kind Kind, cause error) error { return &Error{Op: op, Kind: kind, Err: cause} }

// Newf is New with a plain text as its cause.
func Newf(op string, kind Kind, text string) error {
	return &Error{Op: op, Kind: kind, Err: errors.New(text)}
}

// Wrap keeps the kind of err, if it has one, and puts op before it. Wrap of nil is nil.
func Wrap(op string, err error) error {
	if err == nil {
		return nil
	}
	return &Error{Op: op, Kind: Of(err), Err: err}
}

func (e *Error) Error() string {
	text := e.Op + ": " + e.Kind.String()
	if e.Err == nil {
		return text
	}
	var inner *Error
	if errors.As(e.Err, &inner) && inner.Kind == e.Kind {
		return e.Op + ": " + e.Err.Error()
	}
	return text + ": " + e.Err.Error()
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Of gives the kind of the outermost Error in err's chain, Other if there is none.
func Of(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return Other
}

// Is reports whether err has the kind.
func Is(err error, kind Kind) bool { return err != nil && Of(err) == kind }
