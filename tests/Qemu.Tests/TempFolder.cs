// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Qemu.Tests;

/// <summary>A folder of one test, with a path short enough for sockets; gone when disposed.</summary>
internal sealed class TempFolder : IDisposable
{
    public string Path { get; } = Directory.CreateTempSubdirectory("tq").FullName;

    public string this[string name] => System.IO.Path.Combine(Path, name);

    public void Dispose() => Directory.Delete(Path, recursive: true);
}
