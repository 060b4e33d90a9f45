package peers_test

// A turn is what the client says and how the server answers.
type turn struct{ client, server string }

// The dialog of smtp-source with smtp-sink. The floor sends these octets in
// these turns and looks at none of them: it is the kernel's part of it.
var dialog = struct {
	greeting, hello turn
	message         [4]turn
	quit            turn
}{
	greeting: turn{"", "220 smtp-sink ESMTP\r\n"},
	hello:    turn{"HELO " + hostname + "\r\n", "250 smtp-sink\r\n"},
	message: [4]turn{
		{"MAIL FROM:<" + mailbox + ">\r\n", "250 2.1.0 Ok\r\n"},
		{"RCPT TO:<" + mailbox + ">\r\n", "250 2.1.5 Ok\r\n"},
		{"DATA\r\n", "354 End data with <CR><LF>.<CR><LF>\r\n"},
		{mailData + ".\r\n", "250 2.0.0 Ok\r\n"},
	},
	quit: turn{"QUIT\r\n", "221 Bye\r\n"},
}

// A floorSpec is what the floor's client is asked to do.
type floorSpec struct {
	Port      int
	Sessions  int
	Messages  int
	Reconnect bool
}
