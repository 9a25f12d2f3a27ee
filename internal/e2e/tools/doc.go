// Package tools tests what rookeryctl does to a user's mail, against whole
// servers.
package tools
