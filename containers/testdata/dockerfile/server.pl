# A mail server in a few lines, for TestServers. It accepts all.
use strict;
use IO::Socket::INET;
$SIG{TERM} = sub { exit 0 };
$SIG{CHLD} = 'IGNORE';
my $listener = IO::Socket::INET->new(LocalPort => 25, Listen => 100, ReuseAddr => 1) or die "listen: $!";
while (1) {
    my $c = $listener->accept or next;
    next if fork;
    $c->autoflush(1);
    print $c "220 shell ESMTP\r\n";
    while (my $line = <$c>) {
        if ($line =~ /^DATA/i) {
            print $c "354 go\r\n";
            while (my $text = <$c>) { last if $text eq ".\r\n" }
            print $c "250 ok\r\n";
        } elsif ($line =~ /^QUIT/i) {
            print $c "221 bye\r\n";
            exit 0;
        } else {
            print $c "250 ok\r\n";
        }
    }
    exit 0;
}
