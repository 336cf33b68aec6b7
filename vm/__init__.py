"""The QEMU core: machine specification, argv, process, QMP, disks, accelerator probe."""
