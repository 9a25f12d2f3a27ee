package session

import (
	"errors"
	"fmt"
	"strings"

	"rookery/imapworker/internal/view"
	"rookery/internal/errkind"
	"rookery/internal/imapname"
	"rookery/internal/imapwire"
	"rookery/internal/mailstore"
)

// states are the states of RFC 3501 §3 that a session after login can be in.
type states uint8

const (
	authed states = 1 << iota
	selected
	anyState = authed | selected
)

// effect says what may be told of the selected mailbox when a command ends.
type effect uint8

const (
	silent    effect = iota // nothing: it leaves the mailbox, or ends later
	keepsSeqs               // no EXPUNGE: FETCH, STORE, SEARCH (RFC 3501 §7.4.1)
	movesSeqs               // EXPUNGE too
	tellsAll                // new messages too where a workaround keeps them back
)

// request is a command, parsed. It answers by a Reply or an error whose kind
// becomes one (reply.go); a Reply without Cond means that the answer comes later.
type request interface {
	run(s *Session) (view.Reply, error)
}

// row is one command. What is not built yet has its place here: ENABLE's
// extensions add rows, or parsers of further arguments, and nothing else.
type row struct {
	legal  states
	effect effect
	parse  func(p *parser) (request, bool)
}

// table is every command there is, UID forms included.
func table() map[string]row {
	return map[string]row{
		"CAPABILITY":   {anyState, movesSeqs, parseCapability},
		"NOOP":         {anyState, tellsAll, parseNoop},
		"LOGOUT":       {anyState, silent, parseLogout},
		"ID":           {anyState, movesSeqs, parseID},
		"ENABLE":       {authed, movesSeqs, parseEnable},
		"SELECT":       {anyState, silent, parseSelect},
		"EXAMINE":      {anyState, silent, parseExamine},
		"CREATE":       {anyState, movesSeqs, parseCreate},
		"DELETE":       {anyState, movesSeqs, parseDelete},
		"RENAME":       {anyState, movesSeqs, parseRename},
		"SUBSCRIBE":    {anyState, movesSeqs, parseSubscribe},
		"UNSUBSCRIBE":  {anyState, movesSeqs, parseUnsubscribe},
		"LIST":         {anyState, movesSeqs, parseList},
		"LSUB":         {anyState, movesSeqs, parseLsub},
		"STATUS":       {anyState, movesSeqs, parseStatus},
		"NAMESPACE":    {anyState, movesSeqs, parseNamespace},
		"LANGUAGE":     {anyState, movesSeqs, parseLanguage},
		"GETQUOTA":     {anyState, movesSeqs, parseGetQuota},
		"GETQUOTAROOT": {anyState, movesSeqs, parseGetQuotaRoot},
		"SETQUOTA":     {anyState, movesSeqs, parseSetQuota},
		"GETMETADATA":  {anyState, movesSeqs, parseGetMetadata},
		"SETMETADATA":  {anyState, movesSeqs, parseSetMetadata},
		"SETACL":       {anyState, movesSeqs, parseSetACL},
		"DELETEACL":    {anyState, movesSeqs, parseDeleteACL},
		"GETACL":       {anyState, movesSeqs, parseGetACL},
		"LISTRIGHTS":   {anyState, movesSeqs, parseListRights},
		"MYRIGHTS":     {anyState, movesSeqs, parseMyRights},
		"APPEND":       {anyState, movesSeqs, parseAppend},
		"IDLE":         {anyState, silent, parseIdle},
		"NOTIFY":       {anyState, movesSeqs, parseNotify},
		"COMPRESS":     {anyState, silent, parseCompress},
		"CHECK":        {selected, tellsAll, parseCheck},
		"CLOSE":        {selected, silent, parseClose},
		"UNSELECT":     {selected, silent, parseUnselect},
		"EXPUNGE":      {selected, movesSeqs, parseExpunge},
		"UID EXPUNGE":  {selected, movesSeqs, parseExpunge},
		"STORE":        {selected, keepsSeqs, parseStore},
		"UID STORE":    {selected, movesSeqs, parseStore},
		"COPY":         {selected, movesSeqs, parseCopy},
		"UID COPY":     {selected, movesSeqs, parseCopy},
		"MOVE":         {selected, movesSeqs, parseMove},
		"UID MOVE":     {selected, movesSeqs, parseMove},
		"REPLACE":      {selected, movesSeqs, parseReplace},
		"UID REPLACE":  {selected, movesSeqs, parseReplace},
		"FETCH":        {selected, keepsSeqs, parseFetch},
		"UID FETCH":    {selected, movesSeqs, parseFetch},
		"SEARCH":       {selected, keepsSeqs, parseSearch},
		"UID SEARCH":   {selected, movesSeqs, parseSearch},
		"SORT":         {selected, keepsSeqs, parseSort},
		"UID SORT":     {selected, movesSeqs, parseSort},
		"THREAD":       {selected, keepsSeqs, parseThread},
		"ESEARCH":      {anyState, keepsSeqs, parseEsearch},
		"UID ESEARCH":  {anyState, keepsSeqs, parseEsearch},
		"CANCELUPDATE": {selected, movesSeqs, parseCancelUpdate},
		"UIDBATCHES":   {selected, movesSeqs, parseUIDBatches},
		"UID THREAD":   {selected, movesSeqs, parseThread},
		"LOGIN":        {0, silent, nil},
		"AUTHENTICATE": {0, silent, nil},
		"STARTTLS":     {0, silent, nil},

		"UNAUTHENTICATE": {anyState, silent, parseUnauthenticate},
	}
}

var commands = table()

// parser is a Decoder with what the parsers of commands share.
type parser struct {
	*imapwire.Decoder
	s   *Session
	tag string
	uid bool // the command came with the UID prefix
	// uidRequired says that what is wrong with the command is a sequence number
	// where UIDONLY is enabled.
	uidRequired bool
	nameErr     error       // a name that cannot be, a mailbox's or a keyword's, though its syntax is right
	given       []givenName // the mailboxes that it named
}

// decoder makes the decoder of bytes that this client sent.
func (s *Session) decoder(p []byte) *imapwire.Decoder {
	d := imapwire.NewDecoder(p, limits(s.cfg.Settings))
	d.Options = s.enc.Options
	return d
}

// command parses one command and runs it.
func (s *Session) command(p []byte) {
	d := s.decoder(p)
	var tag string
	switch {
	case len(p) == 0:
		s.answer("", view.Bad("Empty command."))
		return
	case !d.WantTag(&tag):
		s.answer("", view.Bad("Invalid tag."))
		return
	}
	name, cmd, refused := s.find(d)
	if refused.Cond != "" {
		s.answer(tag, refused)
		return
	}
	uid := strings.HasPrefix(name, "UID ")
	s.last = name
	if instead := outdated[name]; instead != "" && s.enc.Options.Rev2 {
		s.answer(tag, view.Bad("IMAP4rev2 has no "+name+"; use "+instead+"."))
		return
	}
	if !uid && s.enc.Options.UIDOnly && numbered[name] {
		s.answer(tag, uidRequired)
		return
	}
	parsed := &parser{Decoder: d, s: s, tag: tag, uid: uid}
	req, ok := cmd.parse(parsed)
	if !ok && parsed.uidRequired {
		s.answer(tag, uidRequired)
		return
	}
	if !ok {
		s.answer(tag, view.Bad("Error in command "+name+": "+d.Err().Error()+"."))
		return
	}
	if parsed.nameErr != nil {
		s.finishCommand(tag, cmd, uid, view.No("CANNOT", sentence(parsed.nameErr.Error())), nil)
		return
	}
	if s.view != nil {
		s.view.Refresh()
		if cmd.effect != silent {
			s.view.AnnounceKeywords(&s.enc)
		}
	}
	j, isJob := req.(*job)
	if isJob && uid && j.numbered() && s.enc.Options.UIDOnly {
		s.answer(tag, uidRequired)
		return
	}
	s.removed, s.lowest = false, 0
	reply, err := req.run(s)
	if isJob && uid && j.numbered() { // by a filter's keys, perhaps
		// RFC 7162 §3.2.10.2: no VANISHED in UID SEARCH with sequence numbers.
		cmd.effect = keepsSeqs
	}
	if c, ok := req.(*appendCommand); ok {
		cmd = c.row(cmd, reply, err)
	}
	if s.enc.Options.Rev2 {
		reply, err = s.asRev2(name, parsed.given, reply, err)
	}
	if names := touches(req); len(names) > 0 {
		s.tellOthers(names)
	}
	s.finishCommand(tag, cmd, uid, reply, err)
}

// find reads what stands behind the tag up to the command's name, and gives its row;
// refused says that there is none, or none that is legal now.
func (s *Session) find(d *imapwire.Decoder) (name string, cmd row, refused view.Reply) {
	if !d.WantSP() || !d.WantAtom(&name) {
		return name, cmd, view.Bad("Command missing.")
	}
	name = strings.ToUpper(name)
	if name == "UID" && d.SP() {
		var second string
		if d.WantWord(&second) {
			name = "UID " + strings.ToUpper(second)
		}
	}
	cmd, known := commands[name]
	switch {
	case !known:
		return name, cmd, view.Bad("Unknown command.")
	case cmd.legal == 0:
		return name, cmd, view.Bad("Already logged in.")
	case cmd.legal&s.state() == 0 && cmd.legal == selected:
		return name, cmd, view.Bad("No mailbox selected.")
	case cmd.legal&s.state() == 0:
		return name, cmd, view.Bad("Command is not allowed while a mailbox is selected.")
	}
	return name, cmd, view.Reply{}
}

// noCommand refuses, before the client sends the literal that it announces, what find
// refuses: RFC 9051 §2.2.1 has BAD "prevent the client from sending any more of the
// command", and §7.6 shows it. Later literals of a command need no look.
func (s *Session) noCommand(lit imapwire.Announced) (refused view.Reply, is bool) {
	var tag string
	d := s.decoder(lit.Prefix)
	if lit.Index > 0 || !d.WantTag(&tag) || d.Peek() != ' ' {
		return refused, false
	}
	_, _, refused = s.find(d)
	return refused, refused.Cond != ""
}

// finishCommand tells what is new and answers.
func (s *Session) finishCommand(tag string, cmd row, uid bool, reply view.Reply, err error) {
	if s.out.err != nil {
		s.finish(Gone, "Disconnected: "+capital(s.out.err.Error()))
	}
	if s.end != Running {
		return
	}
	if s.kicked != "" {
		if s.removed { // a MOVE that was broken off: what left is told before the end
			s.tell(view.May{Expunge: true, UID: uid}, true)
		}
		s.sayBye(Killed, "Disconnected: "+s.kicked, s.kicked)
		return
	}
	if errors.Is(err, view.ErrDisconnect) {
		s.cfg.Log.Error(err.Error())
		s.sayBye(Broken, "Disconnected: Message could not be read", "Internal error occurred. Refer to server log for more information.")
		return
	}
	if err != nil {
		reply = s.refusal(err)
	}
	if reply.Cond == "" {
		return
	}
	if cmd.effect != silent && reply.Cond != imapwire.BAD {
		s.tell(view.May{Expunge: cmd.effect != keepsSeqs, Exists: cmd.effect == tellsAll || !s.cfg.Settings.DelayNewMail, UID: uid}, true)
		if s.end != Running {
			return
		}
		reply = s.tellHighest(reply)
		reply = s.tellLimit(reply)
		s.removed = false
	}
	s.tellMetadata()
	s.answer(tag, reply)
}

func (s *Session) state() states {
	if s.view != nil {
		return selected
	}
	return authed
}

// mailbox demands a mailbox name. A name that is syntactically right but can be
// no mailbox's is remembered: the command then answers NO, not BAD.
func (p *parser) mailbox(name *imapname.Name) bool {
	return p.mailboxTrimmed(name, p.s.cfg.Settings.ExtraSeparator)
}

// mailboxTrimmed is mailbox where one separator at the end may be ignored.
func (p *parser) mailboxTrimmed(name *imapname.Name, trim bool) bool {
	var raw string
	return p.WantMailbox(&raw) && p.mailboxName(raw, name, trim)
}

// mailboxName is mailboxTrimmed for a name that was read.
func (p *parser) mailboxName(raw string, name *imapname.Name, trim bool) bool {
	parsed, err := p.s.dialect(raw).Parse(raw, trim)
	switch {
	case err == imapname.ErrEncoding:
		return p.Fail("a mailbox name in modified UTF-7")
	case err == imapname.ErrUTF8:
		return p.Fail("a mailbox name in UTF-8")
	case p.nameErr != nil:
	case err != nil:
		p.nameErr = err
	default:
		p.nameErr = p.s.inNamespace(parsed)
	}
	if trim {
		raw = strings.TrimSuffix(raw, p.s.separator())
	}
	p.given = append(p.given, givenName{raw, parsed})
	*name = parsed
	return true
}

// inNamespace is nil for a name that begins as the names of the user's namespace
// do, and for INBOX, which is in it whatever the prefix is.
func (s *Session) inNamespace(name imapname.Name) error {
	spaces := s.cfg.Store.Namespaces()
	if len(spaces) == 0 || name == imapname.Inbox {
		return nil
	}
	for _, ns := range spaces {
		if strings.HasPrefix(string(name), prefixOf(ns)) {
			return nil
		}
	}
	return fmt.Errorf("mailbox names begin with %s here", spaces[0].Prefix)
}

// prefixOf is the namespace's prefix as names have it.
func prefixOf(ns mailstore.Namespace) string {
	return strings.ReplaceAll(ns.Prefix, string(rune(ns.Separator)), imapname.Separator)
}

func equalFold(p []byte, word string) bool { return strings.EqualFold(string(p), word) }

// sentence makes an error's text one.
func sentence(text string) string { return capital(text) + "." }

func capital(text string) string {
	if text == "" {
		return "Failed"
	}
	return strings.ToUpper(text[:1]) + text[1:]
}

// readOnly refuses what a client of EXAMINE asks for.
func readOnly(op string) error {
	return errkind.Newf(op, errkind.ReadOnly, "mailbox is open read-only")
}
