package sasl

import (
	"bytes"
	"crypto/md5"
	"crypto/subtle"
	"encoding/hex"
)

// cram is CRAM-MD5, RFC 2195.
type cram struct {
	challenge []byte
	step      int
	user      string
	digest    []byte
}

func (c *cram) Start(has bool, _ []byte) Action {
	// RFC 4959 §3: a mechanism in which the server speaks first takes none.
	if has {
		return malformed("CRAM-MD5 takes no initial response")
	}
	c.step = 1
	return Action{Kind: Challenge, Data: c.challenge}
}

func (c *cram) Next(response []byte) Action {
	if c.step != 1 {
		return malformed("response after the end")
	}
	c.step = 0
	if len(response) > MaxResponse {
		return malformed("response of %d bytes", len(response))
	}
	// The digest has no space, a name may.
	at := bytes.LastIndexByte(response, ' ')
	if at < 0 {
		return malformed("no space between name and digest")
	}
	if err := goodName(response[:at]); err != nil {
		return malformed("%v", err)
	}
	digest, err := hex.DecodeString(string(response[at+1:]))
	if err != nil || len(digest) != md5.Size {
		return malformed("digest is not 32 hex digits")
	}
	c.step, c.user, c.digest = 2, string(response[:at]), digest
	return Action{Kind: Lookup, Authcid: c.user}
}

func (c *cram) Credentials(cr Credentials) Action {
	if c.step != 2 {
		return malformed("credentials not asked for")
	}
	c.step = 0
	return proved(cr.Known, cr.CRAM.Digest(c.challenge), c.digest, c.user, "")
}

// proved compares in constant time and never lets an unknown user pass.
func proved(known bool, want, got []byte, authcid, authzid string) Action {
	if subtle.ConstantTimeCompare(want, got) == 1 && known {
		return Action{Kind: Accept, Authcid: authcid, Authzid: authzid}
	}
	return Action{Kind: Reject, Authcid: authcid, Authzid: authzid, Reason: "Password mismatch"}
}

// apop is RFC 1939 §7's command as a mechanism: one response, "timestamp NUL
// name NUL digest", the digest in 16 raw bytes.
type apop struct {
	check  func(string) bool
	step   int
	stamp  []byte
	user   string
	digest []byte
}

func (a *apop) Start(has bool, initial []byte) Action {
	if !has {
		return malformed("APOP needs its response at once")
	}
	f := bytes.SplitN(initial, []byte{0}, 3)
	if len(initial) > MaxResponse || len(f) != 3 || len(f[2]) != md5.Size {
		return malformed("APOP response is not timestamp, name, digest")
	}
	if err := goodName(f[1]); err != nil {
		return malformed("%v", err)
	}
	if a.check == nil || !a.check(string(f[0])) {
		return malformed("APOP timestamp is not one of this connection")
	}
	a.step, a.stamp, a.user, a.digest = 1, bytes.Clone(f[0]), string(f[1]), bytes.Clone(f[2])
	return Action{Kind: Lookup, Authcid: a.user}
}

func (a *apop) Next([]byte) Action { return malformed("response after the end") }

func (a *apop) Credentials(c Credentials) Action {
	if a.step != 1 {
		return malformed("credentials not asked for")
	}
	a.step = 0
	h := md5.New()
	h.Write(a.stamp)
	h.Write(c.Plain)
	return proved(c.Known, h.Sum(nil), a.digest, a.user, "")
}
