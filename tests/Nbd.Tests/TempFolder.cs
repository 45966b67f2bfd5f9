// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Nbd.Tests;

/// <summary>A folder of one test, removed with all in it. Its path is short: a unix socket's may have 107 bytes.</summary>
internal sealed class TempFolder : IDisposable
{
    public string Path { get; } = Directory.CreateTempSubdirectory("nbd-").FullName;

    public string this[string name] => System.IO.Path.Combine(Path, name);

    public void Dispose() => Directory.Delete(Path, recursive: true);
}
