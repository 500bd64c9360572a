"""Takes the members of wheels that a native binding needs, and prints what else the wheel asks for.

    unpack.py FOLDER PREFIX,PREFIX,… WHEEL…     extracts the members that begin so
    unpack.py --requires EXTRA WHEEL            prints one requirement a line
"""
import os
import re
import sys
import zipfile


def requirements(wheel, extra):
    with zipfile.ZipFile(wheel) as archive:
        name = next(n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        metadata = archive.read(name).decode()
    pattern = rf"^Requires-Dist: ([^;\n]+);.*extra == [\"']{re.escape(extra)}[\"']"
    return [match.group(1).strip() for match in re.finditer(pattern, metadata, re.MULTILINE)]


def unpack(folder, prefixes, wheels):
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            for member in archive.infolist():
                if member.filename.startswith(prefixes) and not member.is_dir():
                    print(member.filename, flush=True)
                    archive.extract(member, folder)  # refuses to leave the folder
        os.remove(wheel)  # what is unpacked is not needed twice


if sys.argv[1] == "--requires":
    print("\n".join(requirements(sys.argv[3], sys.argv[2])))
else:
    unpack(sys.argv[1], tuple(sys.argv[2].split(",")), sys.argv[3:])
