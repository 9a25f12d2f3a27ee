package passhash

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
)

// schemes lists all schemes; nothing ever changes it. "Weak" follows Dovecot
// 2.4: unsalted or salted MD5 and MD4, DES and MD5-crypt.
var schemes = [...]scheme{
	{name: "PLAIN", plain: true, text: "the password itself (needed for APOP)", verify: verifyPlain, generate: genPlain},
	{name: "CLEAR", alias: "PLAIN"},
	{name: "CLEARTEXT", alias: "PLAIN"},
	{name: "PLAIN-TRUNC", text: "N-text: the first N bytes count", check: checkTrunc, verify: verifyTrunc},
	{name: "CRYPT", text: "crypt(3): $2a$ $2b$ $2y$ $5$ $6$ $7$ $y$, weak: $1$ $sha1$ DES", check: checkCrypt, verify: verifyCrypt, generate: genBcrypt, cost: costCrypt},
	{name: "BLF-CRYPT", text: "bcrypt ($2y$); bytes after the 72nd do not count", check: checkCrypt, verify: verifyCrypt, generate: genBcrypt, cost: costCrypt},
	{name: "SHA256-CRYPT", text: "SHA-256-crypt ($5$)", check: checkCrypt, verify: verifyCrypt, generate: genSHACrypt("$5$"), cost: costCrypt},
	{name: "SHA512-CRYPT", text: "SHA-512-crypt ($6$)", check: checkCrypt, verify: verifyCrypt, generate: genSHACrypt("$6$"), cost: costCrypt},
	{name: "MD5-CRYPT", weak: true, text: "MD5-crypt ($1$)", check: checkCrypt, verify: verifyCrypt, generate: genMD5Crypt, cost: costCrypt},
	{name: "MD5", alias: "MD5-CRYPT"},
	{name: "DES-CRYPT", weak: true, text: "traditional DES crypt(3)", check: checkCrypt, verify: verifyCrypt, cost: costCrypt},
	{name: "ARGON2I", text: "Argon2i, RFC 9106", check: checkArgon, verify: verifyArgon, generate: genArgon("argon2i"), cost: costArgon},
	{name: "ARGON2ID", text: "Argon2id, RFC 9106", check: checkArgon, verify: verifyArgon, generate: genArgon("argon2id"), cost: costArgon},
	{name: "ARGON2", alias: "ARGON2ID"},
	{name: "PBKDF2", text: "PBKDF2 with HMAC-SHA-1 ($1$salt$rounds$hex)", check: checkPBKDF2, verify: verifyPBKDF2, generate: genPBKDF2, cost: costPBKDF2},
	{name: "SHA", enc: encBase64, rawLen: sha1.Size, text: "SHA-1, unsalted", verify: digestVerify(sha1.New), generate: digestGen(sha1.New, 0)},
	{name: "SHA1", alias: "SHA"},
	{name: "SHA256", enc: encBase64, rawLen: sha256.Size, text: "SHA-256, unsalted", verify: digestVerify(sha256.New), generate: digestGen(sha256.New, 0)},
	{name: "SHA512", enc: encBase64, rawLen: sha512.Size, text: "SHA-512, unsalted", verify: digestVerify(sha512.New), generate: digestGen(sha512.New, 0)},
	{name: "SSHA", enc: encBase64, text: "SHA-1 with salt", check: checkSalted(sha1.Size), verify: digestVerify(sha1.New), generate: digestGen(sha1.New, 8)},
	{name: "SSHA256", enc: encBase64, text: "SHA-256 with salt", check: checkSalted(sha256.Size), verify: digestVerify(sha256.New), generate: digestGen(sha256.New, 8)},
	{name: "SSHA512", enc: encBase64, text: "SHA-512 with salt", check: checkSalted(sha512.Size), verify: digestVerify(sha512.New), generate: digestGen(sha512.New, 8)},
	{name: "SMD5", weak: true, enc: encBase64, text: "MD5 with salt", check: checkSalted(md5.Size), verify: digestVerify(md5.New), generate: digestGen(md5.New, 8)},
	{name: "LDAP-MD5", weak: true, enc: encBase64, rawLen: md5.Size, text: "MD5, unsalted, base64", verify: digestVerify(md5.New), generate: digestGen(md5.New, 0)},
	{name: "PLAIN-MD5", weak: true, enc: encHex, rawLen: md5.Size, text: "MD5, unsalted, hex", verify: digestVerify(md5.New), generate: digestGen(md5.New, 0)},
	{name: "PLAIN-MD4", weak: true, enc: encHex, rawLen: md5.Size, text: "MD4, unsalted, hex", verify: digestVerify(newMD4), generate: digestGen(newMD4, 0)},
	{name: "CRAM-MD5", enc: encHex, rawLen: 2 * md5.Size, text: "the HMAC state of CRAM-MD5", verify: verifyCRAM, generate: genCRAM},
	{name: "HMAC-MD5", weak: true, enc: encHex, rawLen: 2 * md5.Size, text: "older name of CRAM-MD5", verify: verifyCRAM, generate: genCRAM},
	{name: "DIGEST-MD5", enc: encHex, rawLen: md5.Size, text: "MD5 of user:realm:password", verify: verifyDigestMD5, generate: genDigestMD5},
	{name: "SCRAM-SHA-1", text: "verifier of RFC 5802", check: checkSCRAM(sha1.Size), verify: verifySCRAM(sha1.New), generate: genSCRAM(sha1.New), cost: costSCRAM},
	{name: "SCRAM-SHA-256", text: "verifier of RFC 7677", check: checkSCRAM(sha256.Size), verify: verifySCRAM(sha256.New), generate: genSCRAM(sha256.New), cost: costSCRAM},
}

// find gives the row for a name in upper case, aliases resolved; nil if unknown.
func find(name string) *scheme {
	for i := range schemes {
		if schemes[i].name != name {
			continue
		}
		if a := schemes[i].alias; a != "" {
			return find(a)
		}
		return &schemes[i]
	}
	return nil
}
