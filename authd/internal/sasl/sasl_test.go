package sasl

import (
	"crypto/hmac"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"rookery/authd/internal/passhash"
)

func start(t *testing.T, mech string, e Env) Machine {
	t.Helper()
	i, ok := Find(mech)
	if !ok {
		t.Fatalf("no mechanism %s", mech)
	}
	return i.New(e)
}

func show(a Action) string {
	names := map[Kind]string{Challenge: "challenge", Verify: "verify", Lookup: "lookup", Anonymous: "anonymous", Accept: "accept", Reject: "reject", Malformed: "malformed"}
	s := names[a.Kind]
	if len(a.Data) > 0 {
		s += fmt.Sprintf(" %q", a.Data)
	}
	if a.Authcid != "" {
		s += " cid=" + a.Authcid
	}
	if a.Authzid != "" {
		s += " zid=" + a.Authzid
	}
	if a.Kind == Verify {
		s += fmt.Sprintf(" pw=%q", a.Password.Reveal())
	}
	if a.Reason != "" {
		s += " (" + a.Reason + ")"
	}
	return s
}

func TestPlain(t *testing.T) {
	long := strings.Repeat("x", 255)
	for in, want := range map[string]string{
		"\x00tim\x00tanstaaftanstaaf":           `verify cid=tim pw="tanstaaftanstaaf"`,
		"Ursel\x00Kurt\x00xipj3plmq":            `verify cid=Kurt zid=Ursel pw="xipj3plmq"`,
		"\x00" + long + "\x00" + long:           `verify cid=` + long + ` pw="` + long + `"`,
		"\x00u\x00":                             `verify cid=u pw=""`,
		"\x00u\x00p\xe4ss":                      `verify cid=u pw="p\xe4ss"`,
		"\x00u":                                 "malformed (1 NULs, need 2)",
		"":                                      "malformed (0 NULs, need 2)",
		"\x00u\x00p\x00":                        "malformed (3 NULs, need 2)",
		"\x00\x00p":                             "malformed (empty user name)",
		"\x00u\xff\x00p":                        "malformed (user name is not UTF-8)",
		"\xff\x00u\x00p":                        "malformed (authorization identity: user name is not UTF-8)",
		"\x00" + long + "x\x00p":                "malformed (user name of 256 bytes, at most 255)",
		"\x00u\x00" + strings.Repeat("p", 1025): "malformed (password of 1025 bytes, at most 1024)",
		strings.Repeat("\x00", 4097):            "malformed (response of 4097 bytes)",
	} {
		m := start(t, "PLAIN", Env{})
		if got := show(m.Start(true, []byte(in))); got != want {
			t.Errorf("%.40q: got %.80s, want %.80s", in, got, want)
		}
		if got := show(m.Next([]byte("\x00u\x00p"))); got != "malformed (response after the end)" {
			t.Errorf("%.40q: a second response gives %s", in, got)
		}
		m = start(t, "PLAIN", Env{})
		if got := show(m.Start(false, nil)); got != "challenge" {
			t.Errorf("without initial response: %s", got)
		}
		if got := show(m.Next([]byte(in))); got != want {
			t.Errorf("%.40q after a challenge: got %.80s, want %.80s", in, got, want)
		}
	}
}

func TestLogin(t *testing.T) {
	m := start(t, "LOGIN", Env{})
	for _, step := range []struct{ got, want string }{
		{show(m.Start(false, nil)), `challenge "Username:"`},
		{show(m.Next([]byte("tim"))), `challenge "Password:"`},
		{show(m.Next([]byte("se cret"))), `verify cid=tim pw="se cret"`},
		{show(m.Next([]byte("x"))), `malformed (response after the end)`},
	} {
		if step.got != step.want {
			t.Errorf("got %s, want %s", step.got, step.want)
		}
	}
	m = start(t, "LOGIN", Env{})
	if got := show(m.Start(true, []byte("tim"))); got != `challenge "Password:"` {
		t.Errorf("initial response: %s", got)
	}
	if got := show(m.Next([]byte("a\x00b"))); got != "malformed (NUL in password)" {
		t.Errorf("NUL: %s", got)
	}
	if got := show(start(t, "LOGIN", Env{}).Start(true, nil)); got != "malformed (empty user name)" {
		t.Errorf("empty name: %s", got)
	}
}

func TestAnonymous(t *testing.T) {
	m := start(t, "ANONYMOUS", Env{})
	if got := show(m.Start(false, nil)); got != "challenge" {
		t.Error(got)
	}
	if got := show(m.Next([]byte("sirhc"))); got != `anonymous "sirhc"` {
		t.Error(got)
	}
	if got := show(start(t, "ANONYMOUS", Env{}).Start(true, nil)); got != "anonymous" {
		t.Error(got)
	}
	for _, bad := range []string{"\xff", "a\x00b", strings.Repeat("x", 1021)} {
		if got := show(start(t, "ANONYMOUS", Env{}).Start(true, []byte(bad))); got != "malformed (trace must be UTF-8 of at most 255 characters)" {
			t.Errorf("%.10q: %s", bad, got)
		}
	}
}

// RFC 2195 §2.
func TestCRAM(t *testing.T) {
	env := Env{Challenge: []byte("<1896.697170952@postoffice.reston.mci.net>")}
	right := passhash.NewCRAM([]byte("tanstaaftanstaaf"))
	for _, c := range []struct {
		response, lookup, end string
		cred                  Credentials
	}{
		{"tim b913a602c7eda7a495b4e6e7334d3890", "lookup cid=tim", "accept cid=tim", Credentials{Known: true, CRAM: right}},
		{"tim b913a602c7eda7a495b4e6e7334d3890", "lookup cid=tim", "reject cid=tim (Password mismatch)", Credentials{Known: false, CRAM: right}},
		{"tim b913a602c7eda7a495b4e6e7334d3891", "lookup cid=tim", "reject cid=tim (Password mismatch)", Credentials{Known: true, CRAM: right}},
		{"two words b913a602c7eda7a495b4e6e7334d3890", "lookup cid=two words", "accept cid=two words", Credentials{Known: true, CRAM: right}},
		{"tim", "malformed (no space between name and digest)", "malformed (credentials not asked for)", Credentials{}},
		{" b913a602c7eda7a495b4e6e7334d3890", "malformed (empty user name)", "malformed (credentials not asked for)", Credentials{}},
		{"tim b913", "malformed (digest is not 32 hex digits)", "malformed (credentials not asked for)", Credentials{Known: true, CRAM: right}},
	} {
		m := start(t, "CRAM-MD5", env)
		if got := show(m.Start(false, nil)); got != `challenge "<1896.697170952@postoffice.reston.mci.net>"` {
			t.Error(got)
		}
		if got := show(m.Next([]byte(c.response))); got != c.lookup {
			t.Errorf("%q: %s, want %s", c.response, got, c.lookup)
		}
		if got := show(m.Credentials(c.cred)); got != c.end {
			t.Errorf("%q: %s, want %s", c.response, got, c.end)
		}
	}
	if got := show(start(t, "CRAM-MD5", env).Start(true, []byte("x"))); got != "malformed (CRAM-MD5 takes no initial response)" {
		t.Error(got)
	}
}

// RFC 1939 §7's example.
func TestAPOP(t *testing.T) {
	const stamp = "<1896.697170952@dbc.mtview.ca.us>"
	digest, _ := hex.DecodeString("c4c9334bac560ecc979e58001b3e22fb")
	ours := Env{APOP: func(s string) bool { return s == stamp }}
	initial := stamp + "\x00mrose\x00" + string(digest)
	run := func(initial string, c Credentials) string {
		m := start(t, "APOP", ours)
		return show(m.Start(true, []byte(initial))) + "; " + show(m.Credentials(c))
	}
	good := Credentials{Known: true, Plain: []byte("tanstaaf")}
	for _, c := range []struct {
		initial string
		cred    Credentials
		want    string
	}{
		{initial, good, "lookup cid=mrose; accept cid=mrose"},
		{initial, Credentials{Known: true, Plain: []byte("tanstaaX")}, "lookup cid=mrose; reject cid=mrose (Password mismatch)"},
		{initial, Credentials{Plain: []byte("tanstaaf")}, "lookup cid=mrose; reject cid=mrose (Password mismatch)"},
		{strings.Replace(initial, "<1896", "<1897", 1), good, "malformed (APOP timestamp is not one of this connection); malformed (credentials not asked for)"},
		{initial + "x", good, "malformed (APOP response is not timestamp, name, digest); malformed (credentials not asked for)"},
		{stamp + "\x00mrose", good, "malformed (APOP response is not timestamp, name, digest); malformed (credentials not asked for)"},
		{stamp + "\x00\x00" + string(digest), good, "malformed (empty user name); malformed (credentials not asked for)"},
	} {
		if got := run(c.initial, c.cred); got != c.want {
			t.Errorf("%.60q: %s, want %s", c.initial, got, c.want)
		}
	}
	// A digest may hold a NUL.
	h := md5.New()
	h.Write([]byte(stamp))
	if got := run(stamp+"\x00u\x00"+"\x00"+string(digest[1:]), good); got != "lookup cid=u; reject cid=u (Password mismatch)" {
		t.Error(got)
	}
}

type scramExample struct {
	mech, salt, nonce, first, serverFirst, final, serverFinal string
}

// The examples of RFC 5802 §5 and RFC 7677 §3; user "user", password "pencil".
var examples = []scramExample{
	{"SCRAM-SHA-1", "QSXCR+Q6sek8bf92", "3rfcNHYJY1ZVvWVs7j", "n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
		"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
		"c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
		"v=rmF9pqV8S7suAoZWja4dJRkFsKQ="},
	{"SCRAM-SHA-256", "W22ZaJ0SNY7soEsUEjb6gQ==", "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0", "n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
		"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
		"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
		"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="},
}

func (e scramExample) cred(t *testing.T, known bool) Credentials {
	t.Helper()
	salt, err := base64.StdEncoding.DecodeString(e.salt)
	if err != nil {
		t.Fatal(err)
	}
	v, err := passhash.NewSCRAM(e.mech, []byte("pencil"), salt, 4096)
	if err != nil {
		t.Fatal(err)
	}
	return Credentials{Known: known, SCRAM: v}
}

func (e scramExample) run(t *testing.T, first, final string, known bool) string {
	t.Helper()
	m := start(t, e.mech, Env{Nonce: []byte(e.nonce)})
	out := show(m.Start(true, []byte(first)))
	if !strings.HasPrefix(out, "lookup") {
		return out
	}
	if a := m.Credentials(e.cred(t, known)); a.Kind != Challenge {
		return out + "; " + show(a)
	}
	a := m.Next([]byte(final))
	if a.Kind != Challenge {
		return show(a)
	}
	return string(a.Data) + "; " + show(m.Next(nil))
}

func TestSCRAM(t *testing.T) {
	for _, e := range examples {
		m := start(t, e.mech, Env{Nonce: []byte(e.nonce)})
		if got := show(m.Start(true, []byte(e.first))); got != "lookup cid=user" {
			t.Errorf("%s: %s", e.mech, got)
		}
		if got := string(m.Credentials(e.cred(t, true)).Data); got != e.serverFirst {
			t.Errorf("%s: server first %s", e.mech, got)
		}
		if got := string(m.Next([]byte(e.final)).Data); got != e.serverFinal {
			t.Errorf("%s: server final %s", e.mech, got)
		}
		if got := show(m.Next([]byte("x"))); got != "malformed (data after the server's proof)" {
			t.Errorf("%s: data at the end: %s", e.mech, got)
		}
		if got := e.run(t, e.first, e.final, true); got != e.serverFinal+"; accept cid=user" {
			t.Errorf("%s: %s", e.mech, got)
		}
		// An unknown user's exchange runs on and fails, whatever the proof.
		if got := e.run(t, e.first, e.final, false); got != "reject cid=user (Password mismatch)" {
			t.Errorf("%s unknown: %s", e.mech, got)
		}
	}
}

// finalFor computes what an honest client answers.
func finalFor(t *testing.T, e scramExample, gs2, bare string) string {
	t.Helper()
	h, err := passhash.SCRAMHash(e.mech)
	if err != nil {
		t.Fatal(err)
	}
	salt, _ := base64.StdEncoding.DecodeString(e.salt)
	nonce := bare[strings.Index(bare, "r=")+2:]
	nonce, _, _ = strings.Cut(nonce, ",")
	both := nonce + e.nonce
	without := "c=" + base64.StdEncoding.EncodeToString([]byte(gs2)) + ",r=" + both
	auth := bare + ",r=" + both + ",s=" + e.salt + ",i=4096," + without
	salted := hi(h().Size(), e.mech, salt)
	mac := func(k []byte, s string) []byte { m := hmac.New(h, k); m.Write([]byte(s)); return m.Sum(nil) }
	clientKey := mac(salted, "Client Key")
	sum := h()
	sum.Write(clientKey)
	sig := mac(sum.Sum(nil), auth)
	for i := range sig {
		sig[i] ^= clientKey[i]
	}
	return without + ",p=" + base64.StdEncoding.EncodeToString(sig)
}

// hi is Hi() of RFC 5802 §2.2, written out once more for the test.
func hi(size int, mech string, salt []byte) []byte {
	h, _ := passhash.SCRAMHash(mech)
	mac := func(b []byte) []byte { m := hmac.New(h, []byte("pencil")); m.Write(b); return m.Sum(nil) }
	u := mac(append(append([]byte{}, salt...), 0, 0, 0, 1))
	out := append([]byte{}, u...)
	for range 4095 {
		u = mac(u)
		for i := range size {
			out[i] ^= u[i]
		}
	}
	return out
}

func TestSCRAMGrammar(t *testing.T) {
	e := examples[1]
	for _, c := range []struct{ gs2, bare, want string }{
		{"n,,", "n=user,r=abc", "accept cid=user"},
		{"y,,", "n=user,r=abc", "accept cid=user"},
		{"n,a=boss,", "n=user,r=abc", "accept cid=user zid=boss"},
		{"n,a=a=2Cb=3Dc,", "n=us=2Cer,r=abc", "accept cid=us,er zid=a,b=c"},
		{"n,,", "n=user,r=abc,x=ignored,y=too", "accept cid=user"},
	} {
		final := finalFor(t, e, c.gs2, c.bare)
		got := e.run(t, c.gs2+c.bare, final, true)
		if _, after, ok := strings.Cut(got, "; "); !ok || after != c.want {
			t.Errorf("%s%s: %s, want %s", c.gs2, c.bare, got, c.want)
		}
		// A change of one byte of the proof, of the nonce, of c= fails.
		for _, bad := range []string{
			final[:len(final)-4] + "AAA=",
			strings.Replace(final, ",r=abc", ",r=abd", 1),
			strings.Replace(final, "c=", "c=AA", 1),
			"c=biws" + final[strings.Index(final, ",r="):] + "A",
			strings.Replace(final, ",p=", ",m=1,p=", 1),
			final[:strings.Index(final, ",p=")],
			"",
		} {
			if got := e.run(t, c.gs2+c.bare, bad, true); !strings.HasPrefix(got, "malformed") && !strings.HasPrefix(got, "reject") {
				t.Errorf("%s%s with final %q: %s", c.gs2, c.bare, bad, got)
			}
		}
	}
	for first, want := range map[string]string{
		"p=tls-exporter,,n=user,r=abc": "malformed (channel binding is not supported)",
		"x,,n=user,r=abc":              "malformed (bad gs2 flag)",
		"n=user,r=abc":                 "malformed (no gs2 header)",
		"":                             "malformed (no gs2 header)",
		"n,b=x,n=user,r=abc":           "malformed (bad authorization identity)",
		"n,,m=x,n=user,r=abc":          "malformed (mandatory extension is not supported)",
		"n,,r=abc,n=user":              "malformed (need n= and r= in this order)",
		"n,,n=user":                    "malformed (need n= and r= in this order)",
		"n,,n=,r=abc":                  "malformed (empty user name)",
		"n,,n=us=2cer,r=abc":           "malformed (bad = in name)",
		"n,,n=us=,r=abc":               "malformed (bad = in name)",
		"n,,n=user,r=":                 "malformed (bad nonce)",
		"n,,n=user,r=a b":              "malformed (bad nonce)",
		"n,,n=user,r=" + strings.Repeat("x", 257):   "malformed (bad nonce)",
		"n,,n=us\x00er,r=abc":                       "malformed (NUL in attribute)",
		"n,,n=us\xffer,r=abc":                       "malformed (user name is not UTF-8)",
		"n,,n=u,r=abc" + strings.Repeat(",x=1", 15): "malformed (too many attributes)",
		strings.Repeat("n", 4097):                   "malformed (response of 4097 bytes)",
	} {
		if got := e.run(t, first, "", true); got != want {
			t.Errorf("%.60q: %s, want %s", first, got, want)
		}
	}
}

// A forged header in c= (another flag than was sent) must fail even when the
// proof covers it: the downgrade that channel binding is about.
func TestSCRAMHeaderForgery(t *testing.T) {
	e := examples[1]
	final := finalFor(t, e, "y,,", "n=user,r=abc")
	if got := e.run(t, "n,,n=user,r=abc", final, true); got != "malformed (channel binding does not match the header)" {
		t.Error(got)
	}
	long := base64.StdEncoding.EncodeToString([]byte("n,,forgedbindingdata"))
	final = finalFor(t, e, "n,,", "n=user,r=abc")
	if got := e.run(t, "n,,n=user,r=abc", strings.Replace(final, "c=biws", "c="+long, 1), true); got != "malformed (channel binding does not match the header)" {
		t.Error(got)
	}
}

// A client that proves his password over another nonce than this exchange's
// (one that he, or somebody who listened, used before) is refused.
func TestSCRAMForeignNonce(t *testing.T) {
	e := examples[1]
	bare := "n=user,r=abc"
	h, err := passhash.SCRAMHash(e.mech)
	if err != nil {
		t.Fatal(err)
	}
	for nonce, want := range map[string]string{"abc" + e.nonce: "accept", "abc": "malformed (nonce", "abc" + e.nonce + "x": "malformed (nonce", "xyz" + e.nonce: "malformed (nonce"} {
		without := "c=biws,r=" + nonce
		auth := bare + ",r=abc" + e.nonce + ",s=" + e.salt + ",i=4096," + without
		mac := func(k []byte, s string) []byte { m := hmac.New(h, k); m.Write([]byte(s)); return m.Sum(nil) }
		salt, _ := base64.StdEncoding.DecodeString(e.salt)
		clientKey := mac(hi(h().Size(), e.mech, salt), "Client Key")
		sum := h()
		sum.Write(clientKey)
		sig := mac(sum.Sum(nil), auth)
		for i := range sig {
			sig[i] ^= clientKey[i]
		}
		got := e.run(t, "n,,"+bare, without+",p="+base64.StdEncoding.EncodeToString(sig), true)
		if _, after, ok := strings.Cut(got, "; "); ok {
			got = after
		}
		if !strings.HasPrefix(got, want) {
			t.Errorf("nonce %q: %s, want %s", nonce, got, want)
		}
	}
}

func TestFakeSCRAM(t *testing.T) {
	key := []byte("process key")
	a, err := FakeSCRAM("SCRAM-SHA-256", "nobody", key, 4096)
	b, _ := FakeSCRAM("SCRAM-SHA-256", "nobody", key, 4096)
	other, _ := FakeSCRAM("SCRAM-SHA-256", "somebody", key, 4096)
	if err != nil || string(a.Salt) != string(b.Salt) || len(a.Salt) != 16 || string(a.Salt) == string(other.Salt) || len(a.StoredKey) != 32 {
		t.Errorf("%+v %+v %+v %v", a, b, other, err)
	}
	if string(Salt("nobody", key)) != string(a.Salt) {
		t.Error("a derived verifier's salt differs from a made-up one's")
	}
}

// Whatever comes, machines end within a few steps, never panic, and never
// accept without a proof.
func FuzzMachines(f *testing.F) {
	f.Add(uint8(0), "\x00tim\x00pw", "", "")
	f.Add(uint8(3), "", "tim b913a602c7eda7a495b4e6e7334d3890", "")
	f.Add(uint8(4), "<a@b>\x00u\x000123456789abcdef", "", "")
	for i, e := range examples {
		f.Add(uint8(5+i), e.first, e.final, "")
	}
	f.Fuzz(func(t *testing.T, which uint8, a, b, c string) {
		info := Mechanisms()[int(which)%len(Mechanisms())]
		m := info.New(Env{Challenge: []byte("<x@y>"), Nonce: []byte("0123456789abcdef0123"), APOP: func(string) bool { return true }})
		act := m.Start(a != "", []byte(a))
		for _, in := range []string{a, b, c, ""} {
			for act.Kind == Lookup {
				act = m.Credentials(Credentials{Known: false, SCRAM: passhash.SCRAM{Iterations: 1, Salt: []byte("s"), StoredKey: []byte("k"), ServerKey: []byte("k")}})
			}
			if act.Kind == Accept {
				t.Fatalf("%s accepted an unknown user", info.Name)
			}
			if act.Kind == Verify && (len(act.Authcid) == 0 || len(act.Authcid) > MaxName || strings.Contains(act.Authcid, "\x00")) {
				t.Fatalf("%s: name %q", info.Name, act.Authcid)
			}
			act = m.Next([]byte(in))
		}
	})
}
