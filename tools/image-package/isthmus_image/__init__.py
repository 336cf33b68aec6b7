"""The files of the virtual machine that Isthmus boots; `vm.image.release` finds them here."""
