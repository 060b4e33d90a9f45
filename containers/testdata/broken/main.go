// This program does not compile.
package main

func main() { undeclaredName() }
