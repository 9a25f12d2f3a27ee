package passhash

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// The crypt(3) rows were made with libxcrypt 4.4, the digests with openssl
// dgst; $5$, $6$ rows are also those of the SHA-crypt paper, $7$ that of
// crypt(5)'s reference, Argon2 of its reference program.
var vectors = []struct{ password, stored string }{
	{"secret", "{PLAIN}secret"},
	{"secret", "{clear}secret"},
	{"secret", "{CLEARTEXT}secret"},
	{"s:crét", "{PLAIN.b64}czpjcsOpdA=="},
	{"secret", "{PLAIN.hex}736563726574"},
	{"secretXYZ", "{PLAIN-TRUNC}6-secret"},
	{"Hello world!", "{CRYPT}$1$saltsalt$le8lFSqqnPaRFOlmAZpvH1"},
	{"", "{MD5}$1$abc$Or2rbeUYTvt12aiVzMuS/."},
	{"Hello world!", "$1$saltsalt$le8lFSqqnPaRFOlmAZpvH1"},
	{"Hello world!", "{SHA256-CRYPT}$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5"},
	{"a very much longer text to encrypt.  This one even stretches over morethan one line.", "{SHA256-CRYPT}$5$rounds=1400$anotherlongsalts$Rx.j8H.h8HjEDGomFU8bDkXm3XIUnzyxf12oP84Bnq1"},
	{"Hello world!", "{SHA512-CRYPT}$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1"},
	{"we have a short salt string but not a short password", "{CRYPT}$6$rounds=77777$short$WuQyW2YR.hBNpjjRhpYD/ifIw05xdfeEyQoMxIXbkvr0gge1a1x3yRULJ5CCaUeOxFmtlcGZelFl5CxtgfiAc0"},
	{"correct horse", "{CRYPT}$y$j75$saltsaltsalt$zQziiNee/3jd.PJJvsNgy7GH5uO3HbsUNcQ3Jsopj2B"},
	{"pleaseletmein", "{CRYPT}$7$A6....1....SodiumChloride$rSDs5BB4c0ZuK8RDOez.7DIZ8zsNn54eJ4ELjk2ej1C"},
	{"U*U", "{BLF-CRYPT}$2y$05$abcdefghijklmnopqrstuuMpLhh66NJUQMuZ6FwRQX0sqAEKeWcKW"},
	{strings.Repeat("x", 80), "{BLF-CRYPT}$2b$04$CCCCCCCCCCCCCCCCCCCCC.ug0A3dTXhy5U.dFjx/qguZ8I4CB77BC"},
	{strings.Repeat("x", 72), "{BLF-CRYPT}$2b$04$CCCCCCCCCCCCCCCCCCCCC.ug0A3dTXhy5U.dFjx/qguZ8I4CB77BC"},
	{"\xff\xa3345", "$2a$04$CCCCCCCCCCCCCCCCCCCCC.KBv1eBM2he2T/QheS8zPHMejn5fMNRe"},
	{"secret", "{CRYPT}$sha1$1000$saltsalt$Afd9xS7u8w4h.ywETK2u0ha2i2TG"},
	{"secretsecret", "{CRYPT}abHr9elwESrHs"},
	{"secretse", "{DES-CRYPT}abHr9elwESrHs"},
	{"", "{DES-CRYPT}zZO7u0HfQST3A"},
	{"\x80\xff", "{CRYPT}$y$j75$saltsaltsalt$xuKAhmJOFKmJTZkTycsVAmhdRp97TpnUqEHN6Dzw09D"},
	{"secret", "{LDAP-MD5}Xr4ilOzQ4PCOq3aQ0qbuaQ=="},
	{"secret", "{LDAP-MD5}5ebe2294ecd0e0f08eab7690d2a6ee69"},
	{"secret", "{PLAIN-MD5}5ebe2294ecd0e0f08eab7690d2a6ee69"},
	{"secret", "{PLAIN-MD5}Xr4ilOzQ4PCOq3aQ0qbuaQ=="},
	{"secret", "{PLAIN-MD4}67d3dafef63ff00603aeef3769cfbf0d"},
	{"secret", "{SMD5}t9z59GG15r6CE8WWk7B1l1NBTFQxMjM0"},
	{"secret", "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ="},
	{"secret", "{SHA1}e5e9fa1ba31ecd1ae84f75caaa474f3a663f05f4"},
	{"secret", "{SSHA}pk4Fn8XUDD1Ke8Vxjljh1/aaouBTQUxUMTIzNA=="},
	{"secret", "{SSHA.hex}a64e059fc5d40c3d4a7bc5718e58e1d7f69aa2e053414c5431323334"},
	{"secret", "{SHA256}K7gNU3sdo+OL0wNhqoVWhr3g6s1xYv72ol/pe/Unols="},
	{"secret", "{SHA256}K7gNU3sdo+OL0wNhqoVWhr3g6s1xYv72ol/pe/Unols"},
	{"secret", "{sha256.hex}2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"},
	{"secret", "{SHA256.base64}K7gNU3sdo+OL0wNhqoVWhr3g6s1xYv72ol/pe/Unols="},
	{"secret", "{SSHA256}pTgm0tZIxvUeMK9MMp0F7xV69tmW/p0fDCclgyEfKWlTQUxUMTIzNA=="},
	{"secret", "{SHA512}vSsar3708Jvp9Szi2NWZZ02Bqp1qRCFpbcTZPdBhnWgs5WtNZKnvCXdhztmeD2cmW192CF5bDufKRpayrW/isg=="},
	{"secret", "{SSHA512}JbcNrBrlAe1IOqE1Gr3ZDy2f8/EK7zjUUsDtsNKcEVzBtlcYxRww1j6OhC/SiQhyw/UwzdSPLvDXjJkDCEtDj1NBTFQxMjM0"},
	{"password", "{ARGON2I}$argon2i$v=19$m=65536,t=2,p=4$c29tZXNhbHQ$RdescudvJCsgt3ub+b+dWRWJTmaaJObG"},
	{"password", "{ARGON2ID}$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"},
	{"password", "{PBKDF2}$1$salt$4096$4b007901b765489abead49d926f721d065a429c1"}, // RFC 6070 §2
	{"password", "{PBKDF2}$1$salt$1$0c60c80f961f0e71f3a9b524af6012062fe037a6"},
}

func mustParse(t *testing.T, stored string) Stored {
	t.Helper()
	s, err := Parse(stored, "CRYPT", true)
	if err != nil {
		t.Fatalf("Parse(%q): %v", stored, err)
	}
	return s
}

func checkPair(t *testing.T, password, stored string) {
	t.Helper()
	s := mustParse(t, stored)
	if ok, err := s.Verify("u@example.test", []byte(password)); !ok || err != nil {
		t.Errorf("%q against %q: %v, %v; want a match", password, stored, ok, err)
	}
	wrong := "~" + password
	if len(wrong) > 3 {
		wrong = "~" + wrong[2:]
	}
	if ok, err := s.Verify("u@example.test", []byte(wrong)); ok || err != nil {
		t.Errorf("wrong %q against %q: %v, %v; want a mismatch", wrong, stored, ok, err)
	}
}

func TestVectors(t *testing.T) {
	for _, v := range vectors {
		checkPair(t, v.password, v.stored)
	}
}

// DIGEST-MD5 hashes the name's two sides too.
func TestDigestMD5(t *testing.T) {
	for user, stored := range map[string]string{
		"bob@example.org": "{DIGEST-MD5}3d43f24c71b71cdd4be54e0721962a79",
		"bob":             "{DIGEST-MD5}c42c9e23d3606604ef9adb6e89574511",
	} {
		s := mustParse(t, stored)
		if ok, err := s.Verify(user, []byte("secret")); !ok || err != nil {
			t.Errorf("%s: %v, %v", user, ok, err)
		}
		if ok, _ := s.Verify("x"+user, []byte("secret")); ok {
			t.Errorf("%s: another user's hash matched", user)
		}
	}
}

// RFC 2195 §2's example, from the password and from the stored state.
func TestCRAM(t *testing.T) {
	challenge := []byte("<1896.697170952@postoffice.reston.mci.net>")
	const want = "b913a602c7eda7a495b4e6e7334d3890"
	plain := mustParse(t, "{PLAIN}tanstaaftanstaaf")
	c, ok := plain.CRAM()
	if got := hex.EncodeToString(c.Digest(challenge)); !ok || got != want {
		t.Errorf("from cleartext: %s, want %s", got, want)
	}
	text, err := Hash("CRAM-MD5", Gen{Password: []byte("tanstaaftanstaaf"), Rand: rand.Reader})
	if err != nil || len(text) != len("{CRAM-MD5}")+64 {
		t.Fatalf("Hash: %q, %v", text, err)
	}
	c, ok = mustParse(t, text).CRAM()
	if got := hex.EncodeToString(c.Digest(challenge)); !ok || got != want {
		t.Errorf("from the state: %s, want %s", got, want)
	}
	if _, ok := mustParse(t, "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=").CRAM(); ok {
		t.Error("a SHA-1 hash served CRAM-MD5")
	}
	// The layout that existing databases hold: outer state first, words little-endian.
	if got := hex.EncodeToString(cramOf("test")); got != "e02d374fde0dc75a17a557039a3a5338c7743304777dccd376f332bee68d2cf6" {
		t.Errorf("state of %q: %s", "test", got)
	}
	long := bytes.Repeat([]byte("k"), 100) // over one MD5 block: hashed first
	lc := NewCRAM(long)
	if got := hex.EncodeToString(lc.Digest([]byte("c"))); got != "1972e5f90c93c7eef87a3f1bad3880d2" {
		t.Errorf("long key: %s", got)
	}
}

func cramOf(p string) []byte { c := NewCRAM([]byte(p)); return c[:] }

func TestSCRAM(t *testing.T) {
	for _, name := range []string{"SCRAM-SHA-1", "SCRAM-SHA-256"} {
		text, err := Hash(name, Gen{Password: []byte("pencil"), Rand: rand.Reader})
		if err != nil {
			t.Fatal(err)
		}
		checkPair(t, "pencil", text)
		s := mustParse(t, text)
		v, ok := s.SCRAM(name, nil)
		if !ok || v.Iterations != 4096 || len(v.Salt) != 16 {
			t.Errorf("%s: verifier %+v, %v", name, v, ok)
		}
		derived, ok := mustParse(t, "{PLAIN}pencil").SCRAM(name, v.Salt)
		if !ok || !bytes.Equal(derived.StoredKey, v.StoredKey) || !bytes.Equal(derived.ServerKey, v.ServerKey) {
			t.Errorf("%s: cleartext gives another verifier", name)
		}
	}
	// The keys of RFC 5802 §5's example, computed with python's hashlib.
	v, err := NewSCRAM("SCRAM-SHA-1", []byte("pencil"), []byte{0x41, 0x25, 0xc2, 0x47, 0xe4, 0x3a, 0xb1, 0xe9, 0x3c, 0x6d, 0xff, 0x76}, 4096)
	if err != nil || hex.EncodeToString(v.StoredKey) != "e9d94660c39d65c38fbad91c358f14da0eef2bd6" || hex.EncodeToString(v.ServerKey) != "0fe09258b3ac852ba502cc62ba903eaacdbf7d31" {
		t.Errorf("RFC 5802 keys: %x %x %v", v.StoredKey, v.ServerKey, err)
	}
	if _, ok := mustParse(t, "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=").SCRAM("SCRAM-SHA-256", nil); ok {
		t.Error("a SHA-1 hash served SCRAM")
	}
}

// Every scheme that can be made is made and verified, in every encoding.
func TestHashRoundTrip(t *testing.T) {
	for _, info := range Schemes() {
		if !info.CanHash {
			continue
		}
		for _, suffix := range []string{"", ".hex", ".b64", ".base64"} {
			rounds := 0
			if strings.Contains(info.Name, "BLF") || info.Name == "CRYPT" {
				rounds = 4
			}
			if strings.HasPrefix(info.Name, "ARGON") {
				rounds = 1
			}
			text, err := Hash(strings.ToLower(info.Name)+suffix, Gen{User: "u@example.test", Password: []byte("pä ss:w0rd"), Rounds: rounds, Rand: rand.Reader})
			if err != nil {
				t.Errorf("%s%s: %v", info.Name, suffix, err)
				continue
			}
			if !strings.HasPrefix(text, "{"+info.Name+strings.ToUpper(suffix)+"}") {
				t.Errorf("%s%s: %q has another prefix", info.Name, suffix, text)
			}
			checkPair(t, "pä ss:w0rd", text)
		}
	}
	if _, err := Hash("NOSUCH", Gen{}); !errors.Is(err, ErrUnknownScheme) {
		t.Errorf("Hash(NOSUCH): %v", err)
	}
}

// What cannot be used is an error with its reason, and never shows the secret.
func TestParseErrors(t *testing.T) {
	for _, c := range []struct {
		stored string
		weak   bool
		want   error
		text   string
	}{
		{"{NOSUCH}secret", true, ErrUnknownScheme, "unknown scheme NOSUCH"},
		{"{SHA256.rot13}secret", true, ErrUnknownScheme, "unknown scheme SHA256.ROT13: encodings are hex, b64, base64"},
		{"$1$saltsalt$le8lFSqqnPaRFOlmAZpvH1", false, ErrWeakScheme, "weak scheme MD5-CRYPT (auth_allow_weak_schemes is false)"},
		{"{CRYPT}$1$saltsalt$le8lFSqqnPaRFOlmAZpvH1", false, ErrWeakScheme, "weak scheme crypt method $1$ (auth_allow_weak_schemes is false) (scheme CRYPT)"},
		{"{CRYPT}abHr9elwESrHs", false, ErrWeakScheme, "weak scheme crypt method DES (auth_allow_weak_schemes is false) (scheme CRYPT)"},
		{"{SMD5}t9z59GG15r6CE8WWk7B1l1NBTFQxMjM0", false, ErrWeakScheme, "weak scheme SMD5 (auth_allow_weak_schemes is false)"},
		{"{PLAIN-MD5}5ebe2294ecd0e0f08eab7690d2a6ee69", false, ErrWeakScheme, "weak scheme PLAIN-MD5 (auth_allow_weak_schemes is false)"},
		{"{LDAP-MD5}Xr4ilOzQ4PCOq3aQ0qbuaQ==", false, ErrWeakScheme, "weak scheme LDAP-MD5 (auth_allow_weak_schemes is false)"},
		{"bare", true, ErrMalformed, "not valid for its scheme: no crypt(3) string; a cleartext password is written {PLAIN}… (scheme CRYPT)"},
		{"{CRYPT}$gy$j9T$x$y", true, ErrMalformed, "not valid for its scheme: crypt(3) method \"$gy$\" is not built in (scheme CRYPT)"},
		{"{SHA256}abcd", true, ErrMalformed, "not valid for its scheme SHA256: 3 bytes, need 32"},
		{"{SHA256}!!!!", true, ErrMalformed, "not valid for its scheme SHA256: bad base64"},
		{"{SSHA}aaaa", true, ErrMalformed, "not valid for its scheme: 3 bytes, need 20 and salt (scheme SSHA)"},
		{"{CRAM-MD5}00", true, ErrMalformed, "not valid for its scheme CRAM-MD5: 1 bytes, need 32"},
		{"{SCRAM-SHA-256}4096,AA==,AA==,AA==", true, ErrMalformed, "not valid for its scheme: SCRAM verifier has keys of a wrong length (scheme SCRAM-SHA-256)"},
		{"{ARGON2ID}$argon2id$v=19$m=0,t=1,p=1$c29tZXNhbHQ$AAAAAAAA", true, ErrMalformed, "not valid for its scheme: Argon2 string has bad parameter m= (scheme ARGON2ID)"},
		{"{ARGON2ID}$argon2id$v=19$m=64,t=1,p=0$c29tZXNhbHQ$AAAAAAAA", true, ErrMalformed, "not valid for its scheme: Argon2 string has bad parameter p= (scheme ARGON2ID)"},
		{"{PBKDF2}$1$salt$0$4b007901b765489abead49d926f721d065a429c1", true, ErrMalformed, "not valid for its scheme: PBKDF2 rounds must be 1 to 67108864 (scheme PBKDF2)"},
		{"{PLAIN}" + strings.Repeat("x", MaxStored), true, ErrMalformed, "not valid for its scheme: longer than 4096 bytes"},
	} {
		_, err := Parse(c.stored, "CRYPT", c.weak)
		if !errors.Is(err, c.want) || err.Error() != c.text {
			t.Errorf("Parse(%.40q, weak %v):\n got %v\nwant %s", c.stored, c.weak, err, c.text)
		}
	}
}

func TestDamagedIsErrorNotMismatch(t *testing.T) {
	for _, stored := range []string{"{CRYPT}$2y$99$abcdefghijklmnopqrstuuMpLhh66NJUQMuZ6FwRQX0sqAEKeWcKW", "{BLF-CRYPT}$2y$05$short",
		"{CRYPT}$y$zzz$x$y", "{CRYPT}$7$~~~~~~~~~~~~~~", "{CRYPT}$5$rounds=x$salt$hash", "{CRYPT}$sha1$x$y$z"} {
		s, err := Parse(stored, "CRYPT", true)
		if err != nil {
			continue
		}
		if ok, err := s.Verify("u", []byte("pw")); ok || !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v, %v; want ErrMalformed", stored, ok, err)
		}
	}
}

func TestCosts(t *testing.T) {
	for _, c := range []struct {
		stored string
		memory int64
		cpuMin time.Duration
	}{
		{"{ARGON2ID}$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc", 64 << 20, 20 * time.Millisecond},
		{"{CRYPT}$y$j9T$abcdefgh$UGYCVcUwcoG0k8SZZ.Uz3i0RYQNy1YmYj4I4poBPer2", 16 << 20, 20 * time.Millisecond},
		{"{CRYPT}$7$A6....1....SodiumChloride$rSDs5BB4c0ZuK8RDOez.7DIZ8zsNn54eJ4ELjk2ej1C", 4 << 20, time.Millisecond},
		{"{BLF-CRYPT}$2y$10$abcdefghijklmnopqrstuuMpLhh66NJUQMuZ6FwRQX0sqAEKeWcKW", 0, 50 * time.Millisecond},
		{"{PLAIN}x", 0, 0},
	} {
		got := mustParse(t, c.stored).Cost()
		if got.Memory != c.memory || got.CPU < c.cpuMin {
			t.Errorf("%s: cost %+v, want memory %d and at least %v", c.stored, got, c.memory, c.cpuMin)
		}
	}
}

func TestFits(t *testing.T) {
	if got := Fits("secret", "u", []byte("secret")); got != "PLAIN" {
		t.Errorf("Fits: %q, want PLAIN", got)
	}
	if got := Fits("2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b", "u", []byte("secret")); got != "SHA256" {
		t.Errorf("Fits: %q, want SHA256", got)
	}
	if got := Fits("zzz", "u", []byte("secret")); got != "" {
		t.Errorf("Fits: %q, want none", got)
	}
}

// With perl on a glibc system the same strings come from libxcrypt itself.
func TestAgainstSystemCrypt(t *testing.T) {
	perl, err := exec.LookPath("perl")
	if err != nil {
		t.Skip("no perl here to call the system's crypt(3)")
	}
	for i, setting := range []string{"$1$%s$", "$5$%s$", "$5$rounds=1234$%s$", "$6$%s$", "$y$j75$%s", "$7$96....1....%s", "ab", "$sha1$77$%s$"} {
		for _, password := range []string{"x", "eight888", "päß wörd", strings.Repeat("long ", 30)} {
			text := setting
			if strings.Contains(setting, "%s") {
				text = fmt.Sprintf(setting, "saltSALT")
			}
			out, err := exec.Command(perl, "-e", "print crypt($ARGV[0], $ARGV[1])", password, text).Output()
			if err != nil || len(out) < 10 {
				t.Logf("the system's crypt(3) does not know %s", text)
				continue
			}
			s := mustParse(t, "{CRYPT}"+string(out))
			if ok, err := s.Verify("u", []byte(password)); !ok || err != nil {
				t.Errorf("%d %q: crypt(3) says %s, we say %v, %v", i, password, out, ok, err)
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, v := range vectors {
		f.Add(v.stored)
	}
	f.Fuzz(func(t *testing.T, stored string) {
		s, err := Parse(stored, "CRYPT", true)
		if err != nil {
			if s.Valid() {
				t.Error("a secret beside an error")
			}
			return
		}
		if c := s.Cost(); c.CPU > 5*time.Millisecond || c.Memory > 1<<22 {
			return
		}
		if _, err := s.Verify("u@d", []byte("password")); err != nil && !errors.Is(err, ErrMalformed) {
			t.Errorf("%q: error %v has no kind", stored, err)
		}
	})
}
