package smtpwire

import (
	"bytes"
	"errors"
	"math"
)

var (
	// ErrParamSyntax says that esmtp parameters do not follow RFC 5321 §4.1.2.
	ErrParamSyntax = errors.New("bad parameter syntax")
	// ErrXtextSyntax says that a value is not xtext (RFC 3461 §4).
	ErrXtextSyntax = errors.New("bad xtext")
)

// Params calls yield with each esmtp-param of params: "KEY=VALUE KEY" (RFC 5321
// §4.1.2), until yield returns false. Keys keep their case: compare them with
// EqualFold. Nothing is checked; CheckParams does that.
func Params(params []byte, yield func(key, value []byte, hasValue bool) bool) {
	params = trimLeft(params)
	for len(params) > 0 {
		var word []byte
		word, params = cutWord(params)
		key, value, hasValue := word, []byte(nil), false
		if i := bytes.IndexByte(word, '='); i >= 0 {
			key, value, hasValue = word[:i], word[i+1:], true
		}
		if !yield(key, value, hasValue) {
			return
		}
	}
}

// CheckParams returns ErrParamSyntax unless params follows the grammar: keys of
// letters, digits and '-', values that are not empty and have no space, '=' or
// control character. Octets above 127 in values are left to SMTPUTF8 (RFC 6531
// §3.3), whose ORCPT has them.
func CheckParams(params []byte) error {
	ok := true
	Params(params, func(key, value []byte, hasValue bool) bool {
		ok = isKeyword(key) && (!hasValue || len(value) > 0)
		for _, c := range value {
			if c <= ' ' || c == '=' || c == 0x7f {
				ok = false
			}
		}
		return ok
	})
	if !ok {
		return ErrParamSyntax
	}
	return nil
}

// isKeyword is for esmtp-keyword and ehlo-keyword (RFC 5321 §4.1.2, §4.1.1.1).
func isKeyword(b []byte) bool {
	return keywordLen(b) == len(b) && len(b) > 0 && b[0] != '-'
}

func keywordLen(b []byte) int {
	for i, c := range b {
		if c != '-' && !isLetterDigit(c) {
			return i
		}
	}
	return len(b)
}

func isLetterDigit(c byte) bool {
	return c-'0' < 10 || c|0x20-'a' < 26
}

// ParseSize parses the value of SIZE (RFC 1870 §4: up to 20 digits). What does
// not fit becomes the largest int64: it exceeds any limit as well.
func ParseSize(value []byte) (int64, error) {
	if len(value) == 0 || len(value) > 20 {
		return 0, ErrParamSyntax
	}
	var n int64
	for _, c := range value {
		d := int64(c) - '0'
		if d < 0 || d > 9 {
			return 0, ErrParamSyntax
		}
		if n > (math.MaxInt64-d)/10 {
			n = math.MaxInt64
			continue
		}
		n = n*10 + d
	}
	return n, nil
}

// AppendXtext appends s as xtext (RFC 3461 §4): the values of AUTH (RFC 4954),
// ORCPT, ENVID and of XCLIENT's attributes.
func AppendXtext(dst []byte, s string) []byte {
	const hex = "0123456789ABCDEF"
	for i := 0; i < len(s); i++ {
		if c := s[i]; c > ' ' && c < 0x7f && c != '+' && c != '=' {
			dst = append(dst, c)
		} else {
			dst = append(dst, '+', hex[c>>4], hex[c&15])
		}
	}
	return dst
}

// AppendXtextDecoded appends what the xtext src stands for. The result may hold
// any octet, line ends and NUL as well. Lower-case hex digits, which the grammar
// does not have, are taken. After an error dst is returned as it was.
func AppendXtextDecoded(dst, src []byte) ([]byte, error) {
	out := dst
	for i := 0; i < len(src); i++ {
		c := src[i]
		switch {
		case c == '+':
			if i+2 >= len(src) {
				return dst, ErrXtextSyntax
			}
			hi, lo := unhex(src[i+1]), unhex(src[i+2])
			if hi|lo > 15 {
				return dst, ErrXtextSyntax
			}
			c = hi<<4 | lo
			i += 2
		case c <= ' ' || c >= 0x7f || c == '=':
			return dst, ErrXtextSyntax
		}
		out = append(out, c)
	}
	return out, nil
}

// unhex returns the value of a hex digit, 16 for anything else.
func unhex(c byte) byte {
	switch {
	case c-'0' < 10:
		return c - '0'
	case c|0x20-'a' < 6:
		return c | 0x20 - 'a' + 10
	}
	return 16
}
