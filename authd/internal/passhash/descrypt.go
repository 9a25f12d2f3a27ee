package passhash

import (
	"errors"
	"strings"
)

// Traditional crypt(3): 25 rounds of DES (FIPS 46-3) over a block of zeroes,
// the password as key, with E's output bits swapped as the salt's bits say.
// crypto/des cannot do the swap. Old databases hold such strings; they are
// weak (8 characters of 7 bits) and served only with auth_allow_weak_schemes.
//
// Bit numbers in the tables are the standard's: 1 is the leftmost.

const (
	desIP = "58 50 42 34 26 18 10 2 60 52 44 36 28 20 12 4 62 54 46 38 30 22 14 6 64 56 48 40 32 24 16 8 " +
		"57 49 41 33 25 17 9 1 59 51 43 35 27 19 11 3 61 53 45 37 29 21 13 5 63 55 47 39 31 23 15 7"
	desFP = "40 8 48 16 56 24 64 32 39 7 47 15 55 23 63 31 38 6 46 14 54 22 62 30 37 5 45 13 53 21 61 29 " +
		"36 4 44 12 52 20 60 28 35 3 43 11 51 19 59 27 34 2 42 10 50 18 58 26 33 1 41 9 49 17 57 25"
	desE = "32 1 2 3 4 5 4 5 6 7 8 9 8 9 10 11 12 13 12 13 14 15 16 17 " +
		"16 17 18 19 20 21 20 21 22 23 24 25 24 25 26 27 28 29 28 29 30 31 32 1"
	desP   = "16 7 20 21 29 12 28 17 1 15 23 26 5 18 31 10 2 8 24 14 32 27 3 9 19 13 30 6 22 11 4 25"
	desPC1 = "57 49 41 33 25 17 9 1 58 50 42 34 26 18 10 2 59 51 43 35 27 19 11 3 60 52 44 36 " +
		"63 55 47 39 31 23 15 7 62 54 46 38 30 22 14 6 61 53 45 37 29 21 13 5 28 20 12 4"
	desPC2 = "14 17 11 24 1 5 3 28 15 6 21 10 23 19 12 4 26 8 16 7 27 20 13 2 " +
		"41 52 31 37 47 55 30 40 51 45 33 48 44 49 39 56 34 53 46 42 50 36 29 32"
	desShifts = "1122222212222221"
)

// desS holds the eight S-boxes, rows 0 to 3 one after the other, a hex digit an entry.
const desS = "" +
	"e4d12fb83a6c59070f74e2d1a6cb953841e8d62bfc973a50fc8249175b3ea06d" +
	"f18e6b34972dc05a3d47f28ec01a69b50e7ba4d158c6932fd8a13f42b67c05e9" +
	"a09e63f51dc7b428d709346a285ecbf1d6498f30b12c5ae71ad069874fe3b52c" +
	"7de3069a1285bc4fd8b56f03472c1ae9a690cb7df13e52843f06a1d8945bc72e" +
	"2c417ab6853fd0e9eb2c47d150fa3986421bad78f9c5630eb8c71e2d6f09a453" +
	"c1af92680d34e75baf427c9561de0b389ef528c3704a1db6432c95fabe17608d" +
	"4b2ef08d3c975a61d0b7491ae35c2f8614bdc37eaf6805926bd814a7950fe23c" +
	"d2846fb1a93e50c71fd8a374c56b0e927b419ce206adf35821e74a8dfc90356b"

func desTable(text string) []int {
	var out []int
	for _, f := range strings.Fields(text) {
		n := 0
		for _, c := range f {
			n = 10*n + int(c-'0')
		}
		out = append(out, n-1)
	}
	return out
}

func permute(in []byte, table []int) []byte {
	out := make([]byte, len(table))
	for i, from := range table {
		out[i] = in[from]
	}
	return out
}

// desKeys gives the sixteen round keys, one bit a byte.
func desKeys(password []byte) [16][]byte {
	key := make([]byte, 64)
	for i := 0; i < 8 && i < len(password); i++ {
		for bit := range 7 {
			key[8*i+bit] = password[i] >> (6 - bit) & 1
		}
	}
	cd := permute(key, desTable(desPC1))
	pc2 := desTable(desPC2)
	var keys [16][]byte
	for round := range 16 {
		for range int(desShifts[round] - '0') {
			c0, d0 := cd[0], cd[28]
			copy(cd[:27], cd[1:28])
			copy(cd[28:55], cd[29:])
			cd[27], cd[55] = c0, d0
		}
		keys[round] = permute(cd, pc2)
	}
	return keys
}

// desSalted is E with the outputs i and i+24 swapped where bit i of the salt is set.
func desSalted(salt []byte) []int {
	e := desTable(desE)
	for i, c := range salt[:2] {
		v := strings.IndexByte(cryptAlphabet, c)
		for bit := range 6 {
			if v>>bit&1 == 1 {
				at := 6*i + bit
				e[at], e[at+24] = e[at+24], e[at]
			}
		}
	}
	return e
}

func nibble(c byte) byte {
	if c >= 'a' {
		return c - 'a' + 10
	}
	return c - '0'
}

// desFeistel is the cipher function f(R, K).
func desFeistel(r, key []byte, e, p []int) []byte {
	x := permute(r, e)
	for i := range x {
		x[i] ^= key[i]
	}
	out := make([]byte, 32)
	for box := range 8 {
		b := x[6*box:]
		row, col := int(b[0]<<1|b[5]), int(b[1]<<3|b[2]<<2|b[3]<<1|b[4])
		v := nibble(desS[64*box+16*row+col])
		for bit := range 4 {
			out[4*box+bit] = v >> (3 - bit) & 1
		}
	}
	return permute(out, p)
}

func cryptDES(password, setting []byte) ([]byte, error) {
	if len(setting) < 2 || !onlyAlphabet(setting[:2]) {
		return nil, errors.New("DES salt must be two of " + cryptAlphabet)
	}
	keys, e, p := desKeys(password), desSalted(setting), desTable(desP)
	block := permute(make([]byte, 64), desTable(desIP))
	l, r := block[:32], block[32:]
	for range 25 {
		for round := range 16 {
			f := desFeistel(r, keys[round], e, p)
			for i := range f {
				f[i] ^= l[i]
			}
			l, r = r, f
		}
		l, r = r, l // each encryption ends swapped; FP and the next IP cancel out
	}
	bits := permute(append(append([]byte{}, l...), r...), desTable(desFP))
	bits = append(bits, 0, 0)
	out := append([]byte{}, setting[:2]...)
	for i := 0; i < 66; i += 6 {
		v := byte(0)
		for _, b := range bits[i : i+6] {
			v = v<<1 | b
		}
		out = append(out, cryptAlphabet[v])
	}
	return out, nil
}
