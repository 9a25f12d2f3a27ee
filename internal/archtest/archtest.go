// Package archtest holds the rules of the house that a compiler does not: who
// may import whom, how long files and functions may be, that every package says
// what it is. Its tests read the tree; nothing imports it.
package archtest
