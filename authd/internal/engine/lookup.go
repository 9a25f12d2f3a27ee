package engine

import (
	"crypto/rand"
	"fmt"

	"rookery/authd/internal/authdb"
	"rookery/authd/internal/passhash"
	"rookery/authd/internal/sasl"
)

// secretLookup is what the databases told about a secret that a mechanism
// needs.
type secretLookup struct {
	cred    sasl.Credentials
	failure authdb.Result // OK, or why the exchange cannot succeed
	driver  string        // that had the secret
	fields  authdb.Fields
	state   authdb.Result // Expired: the secret is right, and yet
	user    string        // whom a master user logs in as; "" without one
	master  string
}

// lookupSecret finds the stored secret for the mechanism. For an unknown user,
// or one whose secret is not of use, the credentials are made up and the
// exchange runs to its end; only the operator's faults end it at once.
func (x *exchange) lookupSecret(authcid, authzid string) *secretLookup {
	found := &secretLookup{failure: authdb.Unknown}
	x.authcid = authcid
	user, master, err := x.names(authcid, authzid)
	if err != nil {
		x.info(x.source(), err.Error())
		found.cred, err = x.fakeCredentials(authcid)
		if err != nil {
			found.failure = authdb.Internal
		}
		return found
	}
	take := func(p *authdb.Passdb, e authdb.PassEntry, _ bool) authdb.Result { return x.takeSecret(found, p, e) }
	if master != "" {
		found.user, found.master = user, master
		x.user, x.loginUser, x.asMaster = master, user, true
	} else {
		x.user = user
	}
	asked := x.user
	chain := authdb.NewChain(false)
	found.fields = x.walkSecret(master != "", chain, take)
	found.failure = chain.Final()
	if found.failure == authdb.Internal {
		return found
	}
	if found.failure != authdb.OK {
		if found.cred, err = x.fakeCredentials(asked); err != nil {
			found.failure = authdb.Internal
		}
	}
	found.cred.Known = found.failure == authdb.OK
	return found
}

// walkSecret is walk without the checks that must not run before the proof.
func (x *exchange) walkSecret(master bool, chain *authdb.Chain, take check) authdb.Fields {
	x.deferAdmit = true
	defer func() { x.deferAdmit = false }()
	return x.walk(master, chain, take)
}

// takeSecret takes what the mechanism needs out of an entry.
func (x *exchange) takeSecret(found *secretLookup, p *authdb.Passdb, e authdb.PassEntry) authdb.Result {
	if e.State == authdb.Disabled {
		x.info(p.Driver, "the account is locked")
		return authdb.Disabled
	}
	if e.Stored == "" {
		x.info(p.Driver, "Password mismatch")
		x.debug(p.Driver, "the entry has no password that %s could use", x.mech)
		return authdb.NoSecret
	}
	stored, res := x.parse(p, e.Stored)
	if res != authdb.OK {
		return res
	}
	ok, res := x.derive(found, p.Driver, stored)
	if res != authdb.OK {
		return res
	}
	if !ok {
		x.info(p.Driver, fmt.Sprintf("Requested %s scheme, but we have only %s", x.mech, stored.Name()))
		return authdb.NoSecret
	}
	found.driver, found.state = p.Driver, e.State
	return authdb.OK
}

// derive makes the mechanism's credentials out of a stored secret; ok is false
// where the stored form cannot give them.
func (x *exchange) derive(found *secretLookup, source string, stored passhash.Stored) (ok bool, res authdb.Result) {
	switch x.mech {
	case "CRAM-MD5":
		found.cred.CRAM, ok = stored.CRAM()
		return ok, authdb.OK
	case "APOP":
		found.cred.Plain, ok = stored.Plaintext()
		return ok, authdb.OK
	}
	text, plain := stored.Plaintext()
	if !plain {
		if found.cred.SCRAM, ok = stored.SCRAM(x.mech, nil); ok {
			x.e.dummy.sawSCRAM(found.cred.SCRAM)
		}
		return ok, authdb.OK
	}
	found.cred.SCRAM, res = x.deriveSCRAM(source, x.user, text)
	return res == authdb.OK, res
}

// deriveSCRAM is costly and waits for its turn as every hash does.
func (x *exchange) deriveSCRAM(source, user string, password []byte) (v passhash.SCRAM, res authdb.Result) {
	err := x.inPool(source, passhash.SCRAMCost(x.e.dummy.iterations()), func() error {
		var err error
		v, err = passhash.NewSCRAM(x.mech, password, sasl.Salt(user, x.e.fakeKey), x.e.dummy.iterations())
		return err
	})
	if err != nil {
		return v, authdb.Internal
	}
	return v, authdb.OK
}

// fakeCredentials are an unknown user's. The work of deriving a verifier is
// done for him too where stored secrets are mostly cleartext.
func (x *exchange) fakeCredentials(user string) (sasl.Credentials, error) {
	var c sasl.Credentials
	if x.mech != "SCRAM-SHA-1" && x.mech != "SCRAM-SHA-256" {
		rand.Read(c.CRAM[:])
		c.Plain = make([]byte, 16)
		rand.Read(c.Plain)
		return c, nil
	}
	if _, plain := x.e.dummy.pick("PLAIN").Plaintext(); plain {
		if _, res := x.deriveSCRAM(x.source(), user, []byte("no such user")); res != authdb.OK {
			return c, errHash
		}
	}
	var err error
	c.SCRAM, err = sasl.FakeSCRAM(x.mech, user, x.e.fakeKey, x.e.dummy.iterations())
	return c, err
}

// proved ends an exchange whose client proved that he knows the secret.
func (x *exchange) proved(found *secretLookup) {
	if found == nil || !found.cred.Known { // the machine never accepts then; believe it twice
		x.end(authdb.Mismatch)
		return
	}
	if found.state == authdb.Expired {
		x.info(found.driver, "the password or the account has expired")
		x.end(authdb.Expired)
		return
	}
	if res := x.admit(found.driver, found.fields); res != authdb.OK {
		x.end(res)
		return
	}
	if found.master != "" {
		x.master, x.asMaster, x.noDelay = found.master, false, false
		x.actAs(found.user)
		return
	}
	x.grant(found.fields)
}

// rejected ends an exchange whose proof does not fit.
func (x *exchange) rejected(found *secretLookup, reason string) {
	if found != nil && found.cred.Known {
		x.info(found.driver, reason)
		x.end(authdb.Mismatch)
		return
	}
	res := authdb.Unknown // its line has been written by the lookup
	if found != nil {
		res = found.failure
	}
	x.end(res)
}
