package remote

// op is what a call asks for. Numbers are never used again.
type op uint8

const (
	opList op = 1 + iota
	opLookup
	opSubscriptions
	opSubscribe
	opCreate
	opDelete
	opRename
	opStatus
	opQuota
	opMyRights
	opGetACL
	opSetACL
	opDeleteACL
	opGrantable
	opOpen
	opClose
	opPicture
	opClaimRecent
	opExpungedSince
	opStore
	opExpunge
	opCopy
	opMove
	opFacts
	opCached
	opCachedFields
	opMessage
	opRead
	opCloseMessage
	opAppend
	opAdd
	opWrite
	opCommit
	opAbort
	opNotes
	opSetNotes
	opNotesSince
	opNotedBoxes
	lastOp
)

// effect is what a call may do that others see.
type effect uint8

const (
	changes effect = 1 << iota // mail, flags or names
	shares                     // who may see which mailboxes, or what they are called
)

// row is a call as the owner's end carries it out.
type row struct {
	name   string
	effect effect
	run    func(s *server, id uint32, args []byte) (reply []byte, bad, err error)
}

// coded is a pointer to T that has fields.
type coded[T any] interface {
	*T
	fields
}

// on makes a row's run of a method on decoded arguments. A method that fails may
// still give what was done.
func on[A, R any, PA coded[A], PR coded[R]](do func(s *server, args *A) (*R, error)) func(*server, uint32, []byte) ([]byte, error, error) {
	return onBroken[A, R, PA, PR](func(s *server, args *A, _ func() error) (*R, error) { return do(s, args) })
}

// onBroken is on for a call that can be broken off: goOn is an error once it is to be.
func onBroken[A, R any, PA coded[A], PR coded[R]](do func(s *server, args *A, goOn func() error) (*R, error)) func(*server, uint32, []byte) ([]byte, error, error) {
	return func(s *server, id uint32, b []byte) (reply []byte, bad, err error) {
		args := new(A)
		if bad := decode(b, PA(args)); bad != nil {
			return nil, bad, nil
		}
		out, err := do(s, args, func() error { return s.goOn(id) })
		if out == nil {
			return nil, nil, err
		}
		reply, cerr := encode(PR(out))
		if cerr != nil {
			return nil, nil, tooMuch(cerr)
		}
		return reply, nil, err
	}
}

// rows are the calls by number.
func rows() [lastOp]row {
	return [lastOp]row{
		opList:          {"list", 0, on((*server).list)},
		opLookup:        {"lookup", 0, on((*server).lookup)},
		opSubscriptions: {"subscriptions", 0, on((*server).subscriptions)},
		opSubscribe:     {"subscribe", changes, on((*server).subscribe)},
		opCreate:        {"create", changes | shares, on((*server).create)},
		opDelete:        {"delete", changes | shares, on((*server).delete)},
		opRename:        {"rename", changes | shares, on((*server).rename)},
		opStatus:        {"status", 0, on((*server).status)},
		opQuota:         {"quota", 0, on((*server).quota)},
		opMyRights:      {"myrights", 0, on((*server).myRights)},
		opGetACL:        {"getacl", 0, on((*server).getACL)},
		opSetACL:        {"setacl", changes | shares, on((*server).setACL)},
		opDeleteACL:     {"deleteacl", changes | shares, on((*server).deleteACL)},
		opGrantable:     {"listrights", 0, on((*server).grantable)},
		opOpen:          {"open", 0, on((*server).open)},
		opClose:         {"close", 0, on((*server).close)},
		opPicture:       {"sync", 0, (*server).picture},
		opClaimRecent:   {"claim recent", 0, on((*server).claimRecent)},
		opExpungedSince: {"look", 0, on((*server).expungedSince)},
		opStore:         {"store", changes, on((*server).storeFlags)},
		opExpunge:       {"expunge", changes, on((*server).expunge)},
		opCopy:          {"copy", changes, onBroken((*server).copy)},
		opMove:          {"move", changes, onBroken((*server).move)},
		opFacts:         {"look", 0, on((*server).facts)},
		opCached:        {"look", 0, on((*server).cached)},
		opCachedFields:  {"look", 0, on((*server).cachedFields)},
		opMessage:       {"open message", 0, on((*server).message)},
		opRead:          {"read message", 0, (*server).read},
		opCloseMessage:  {"close message", 0, on((*server).closeMessage)},
		opAppend:        {"append", 0, on((*server).append)},
		opAdd:           {"append", 0, on((*server).add)},
		opWrite:         {"append", 0, on((*server).write)},
		opCommit:        {"append", changes, onBroken((*server).commit)},
		opAbort:         {"append", 0, on((*server).abort)},
		opNotes:         {"annotations", 0, on((*server).notes)},
		opSetNotes:      {"annotate", changes, on((*server).setNotes)},
		opNotesSince:    {"annotations", 0, on((*server).notesSince)},
		opNotedBoxes:    {"annotations", 0, on((*server).notedBoxes)},
	}
}
