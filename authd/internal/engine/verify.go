package engine

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"rookery/authd/internal/authdb"
	"rookery/authd/internal/hashpool"
	"rookery/authd/internal/passhash"
	"rookery/authd/internal/sasl"
)

// check decides about an entry that a passdb found. more tells that another
// passdb may be asked after it.
type check func(p *authdb.Passdb, e authdb.PassEntry, more bool) authdb.Result

// walk asks the passdbs that serve master users, or all others, about x.user.
// It logs what is not found; check logs what does not fit.
func (x *exchange) walk(master bool, chain *authdb.Chain, decide check) authdb.Fields {
	var fields authdb.Fields
	dbs := x.passdbs(master)
	for i, p := range dbs {
		q := authdb.Query{User: x.user, Mech: x.mech, Vars: x.vars(x.user)}
		if !chain.Wants(p.Rules) || !p.Asks(q) {
			continue
		}
		more := i+1 < len(dbs)
		x.debug(p.Driver, "lookup: user=%s", logName(x.user))
		e, err := p.Look(q)
		switch {
		case p.Deny && err != nil: // a deny list that cannot be read must not let anybody in
			x.fail(p.Driver, err.Error())
			chain.Stop()
		case p.Deny && e.Found:
			x.info(p.Driver, "User found from deny passdb")
			chain.Deny()
		case p.Deny:
		case err != nil:
			x.fail(p.Driver, err.Error())
			chain.Report(p.Rules, authdb.Internal)
		case !e.Found:
			if !chain.Succeeded() {
				x.infoPassword(p.Driver, "unknown user", more)
			}
			chain.Report(p.Rules, authdb.Unknown)
		default:
			res := x.entry(p, e, more, decide)
			if res == authdb.OK {
				fields = e.Fields.Merge(fields)
			}
			chain.Report(p.Rules, res)
		}
	}
	return fields
}

// passdbs lists those of one walk: deny lists belong to both.
func (x *exchange) passdbs(master bool) []*authdb.Passdb {
	var out []*authdb.Passdb
	for _, p := range x.cfg.Passdbs {
		if p.Deny || p.Master == master {
			out = append(out, p)
		}
	}
	return out
}

// entry lets decide look at an entry, then applies the extra fields that speak
// about the login itself.
func (x *exchange) entry(p *authdb.Passdb, e authdb.PassEntry, more bool, decide check) authdb.Result {
	if e.Fields.Has("nodelay") {
		x.noDelay = true
	}
	if x.debugging() && len(e.Fields) > 0 {
		var keys []string
		for _, f := range e.Fields {
			v := f.Value
			if strings.Contains(f.Key, "pass") && !x.cfg.DebugPasswords {
				v = "<hidden>"
			}
			keys = append(keys, f.Key+"="+v)
		}
		x.debug(p.Driver, "extra fields: %s", strings.Join(keys, " "))
	}
	if res := decide(p, e, more); res != authdb.OK || x.deferAdmit {
		return res
	}
	res := x.admit(p.Driver, e.Fields)
	if res != authdb.OK {
		x.blocked = res
	}
	return res
}

// admit applies allow_nets, proxy, fail, nologin and user. It runs after the
// password has been found right, so that nobody learns of them without it.
func (x *exchange) admit(driver string, f authdb.Fields) authdb.Result {
	if nets, ok := f.Get("allow_nets"); ok {
		var remote netip.Addr
		if x.peer.Remote.IsValid() {
			remote = x.peer.Remote.Addr()
		}
		allowed, err := authdb.AllowNets(nets, remote)
		if err != nil {
			x.fail(driver, "allow_nets: "+err.Error())
			return authdb.Internal
		}
		if !allowed {
			x.info(driver, fmt.Sprintf("allow_nets check failed: IP %s not in allowed networks", x.ip))
			return authdb.NotAllowed
		}
	}
	if f.Has("proxy") || f.Has("proxy_maybe") {
		x.fail(driver, "the extra field proxy is set, but this release does not proxy logins: remove proxy, proxy_maybe and host for this user")
		return authdb.Internal
	}
	if reason, ok := f.Get("fail"); ok {
		x.reason = reason
		x.info(driver, "the extra field fail is set")
		return authdb.Disabled
	}
	if f.Has("nologin") {
		x.noLogin = true
		x.reason, _ = f.Get("reason")
		x.info(driver, "nologin is set")
	}
	if name, ok := f.Get("user"); ok && name != "" && !x.asMaster {
		x.debug(driver, "username changed %s -> %s", logName(x.user), logName(name))
		x.user = name
	}
	return authdb.OK
}

// verifyPlain compares a password that the client showed.
func (x *exchange) verifyPlain(a sasl.Action) {
	defer a.Password.Wipe()
	x.authcid, x.password = a.Authcid, a.Password.Reveal()
	defer func() { x.password = nil }()
	user, master, err := x.names(a.Authcid, a.Authzid)
	if err != nil {
		x.info(x.source(), err.Error())
		x.end(x.burn(authdb.Unknown))
		return
	}
	compare := func(p *authdb.Passdb, e authdb.PassEntry, more bool) authdb.Result { return x.compare(p, e, more) }
	if master != "" {
		if !x.becomeMaster(user, master, compare) {
			return
		}
		x.actAs(user)
		return
	}
	x.user = user
	chain := authdb.NewChain(false)
	fields := x.walk(false, chain, compare)
	if res := chain.Final(); res != authdb.OK {
		x.end(x.burn(res))
		return
	}
	x.grant(fields)
}

// names says who logs in and, where a master user does it, who that is.
func (x *exchange) names(authcid, authzid string) (user, master string, err error) {
	user, master = x.cfg.splitMaster(authcid)
	if authzid != "" && authzid != authcid {
		if master != "" {
			return "", "", errors.New("both an authorization identity and a master user in the name")
		}
		user, master = authzid, authcid
	}
	if user, err = x.cfg.userName(user); err != nil {
		return "", "", err
	}
	if master != "" {
		if master, err = x.cfg.userName(master); err != nil {
			return "", "", err
		}
	}
	if master == user { // the identities differ in their spelling only
		master = ""
	}
	return user, master, nil
}

// becomeMaster checks the master user; false if the exchange has ended.
func (x *exchange) becomeMaster(user, master string, decide check) bool {
	x.user, x.loginUser, x.asMaster = master, user, true
	chain, ok := authdb.NewChain(false), false
	x.walk(true, chain, func(p *authdb.Passdb, e authdb.PassEntry, more bool) authdb.Result {
		res := decide(p, e, more)
		ok = ok || res == authdb.OK
		x.mustExist = x.mustExist || res == authdb.OK && p.OnSuccess == authdb.Continue
		return res
	})
	res := chain.Final()
	if x.mustExist && ok && res == authdb.Unknown {
		res = authdb.OK // result_success = continue: the user himself decides
	}
	if res != authdb.OK {
		x.end(x.burn(res))
		return false
	}
	x.master, x.asMaster, x.noDelay = master, false, false
	return true
}

// actAs lets a master user in as user. His passdb entry is asked without a
// password: a deny list, a lock and nologin hold for a master user too.
func (x *exchange) actAs(user string) {
	x.user = user
	x.debug(x.source(), "master user %s logs in as %s", logName(x.master), logName(user))
	x.password = nil
	chain := authdb.NewChain(!x.mustExist)
	fields := x.walk(false, chain, func(p *authdb.Passdb, e authdb.PassEntry, _ bool) authdb.Result {
		if e.State == authdb.Disabled {
			x.info(p.Driver, "the account is locked")
			x.blocked = authdb.Disabled
		}
		return authdb.OK
	})
	res := chain.Final()
	switch {
	case x.blocked != authdb.OK: // whatever another passdb says
		res = x.blocked
	case chain.SawInternal(): // the one that failed might have said nologin
		res = authdb.Internal
	}
	if res != authdb.OK {
		x.end(res)
		return
	}
	x.grant(fields)
}

// compare compares the password that was typed with an entry's.
func (x *exchange) compare(p *authdb.Passdb, e authdb.PassEntry, more bool) authdb.Result {
	empty := e.Stored == "" || strings.EqualFold(e.Stored, "{PLAIN}")
	switch {
	case e.State == authdb.Disabled:
		x.info(p.Driver, "the account is locked")
		return authdb.Disabled
	case e.Fields.Has("nopassword") && !empty:
		x.fail(p.Driver, "nopassword is set, but the password is not empty")
		return authdb.Internal
	case e.Fields.Has("nopassword"):
		return authdb.OK
	case e.Stored == "": // a list of names, or a user who has no password: none fits
		x.infoPassword(p.Driver, "Password mismatch", more)
		x.debug(p.Driver, "the entry has no password")
		return authdb.Mismatch
	}
	stored, res := x.parse(p, e.Stored)
	if res != authdb.OK {
		return res
	}
	ok, res := x.hash(p.Driver, stored)
	if res != authdb.OK {
		return res
	}
	if !ok {
		x.infoPassword(p.Driver, "Password mismatch", more)
		x.debugMismatch(p.Driver, stored)
		return authdb.Mismatch
	}
	if e.State == authdb.Expired {
		x.info(p.Driver, "the password or the account has expired")
		return authdb.Expired
	}
	return authdb.OK
}

// parse reads a stored secret. What cannot be read is the operator's fault and
// an internal failure.
func (x *exchange) parse(p *authdb.Passdb, text string) (passhash.Stored, authdb.Result) {
	stored, err := passhash.Parse(text, p.DefaultScheme, x.cfg.AllowWeakSchemes)
	if err == nil {
		x.e.dummy.saw(stored)
		return stored, authdb.OK
	}
	x.fail(p.Driver, "the stored password cannot be used: "+err.Error())
	if x.cfg.DebugPasswords && x.password != nil {
		if fit := passhash.Fits(text, x.user, x.password); fit != "" {
			x.debug(p.Driver, "try %s scheme instead", fit)
		}
	}
	return stored, authdb.Internal
}

// hash compares in the pool, where costly schemes wait for their turn.
func (x *exchange) hash(source string, stored passhash.Stored) (ok bool, res authdb.Result) {
	x.hashed = true
	err := x.inPool(source, stored.Cost(), func() error {
		var err error
		ok, err = stored.Verify(x.user, x.password)
		return err
	})
	if err != nil {
		return false, authdb.Internal
	}
	return ok, authdb.OK
}

// errHash means that a hash did not run, and that the log says why.
var errHash = errors.New("the password could not be hashed")

// inPool runs f when the pool lets it; the error, errHash, has been logged.
func (x *exchange) inPool(source string, cost passhash.Cost, f func() error) error {
	var remote netip.Addr
	if x.peer.Remote.IsValid() {
		remote = x.peer.Remote.Addr()
	}
	var hashErr error
	err := x.e.pool.Do(hashpool.Network(remote), cost, x.gone, func() { hashErr = f() })
	switch {
	case err == nil && hashErr == nil:
		return nil
	case errors.Is(err, hashpool.ErrCancelled):
	case errors.Is(err, hashpool.ErrBusy):
		x.log().Warnf("%s%v", x.prefix(source), err)
	case err != nil:
		x.fail(source, err.Error())
	default:
		x.fail(source, "the stored password cannot be used: "+hashErr.Error())
	}
	return errHash
}

// burn does the work of a known user where none was done, so that an unknown
// one is not told by his quick answer. A full pool outweighs the result, as it
// does for known users.
func (x *exchange) burn(res authdb.Result) authdb.Result {
	if x.hashed || x.password == nil || res == authdb.Internal {
		return res
	}
	def := "CRYPT"
	if len(x.cfg.Passdbs) > 0 && x.cfg.Passdbs[0].DefaultScheme != "" {
		def = x.cfg.Passdbs[0].DefaultScheme
	}
	if _, hashRes := x.hash(x.source(), x.e.dummy.pick(def)); hashRes != authdb.OK {
		return hashRes
	}
	return res
}

// debugMismatch is auth_debug_passwords' line.
func (x *exchange) debugMismatch(source string, stored passhash.Stored) {
	if !x.cfg.DebugPasswords || !x.debugging() {
		return
	}
	line := fmt.Sprintf("%s(%s) != '%s'", stored.Name(), x.password, stored.Data())
	if fit := passhash.Fits(stored.Data(), x.user, x.password); fit != "" && fit != stored.Name() {
		line += ", try " + fit + " scheme instead"
	}
	x.debug(source, "%s", line)
}
